"""Whether a job in the background lives: what its watcher takes for its end, and what only looks like it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from brbs.job import queue_job
from BRBSTrainingLib.BackgroundJob import BackgroundJob

HOUR = 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Auftrag"


@pytest.fixture
def process():
    """A process that does nothing and does not end."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started
    started.kill()
    started.wait()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Lets time go by for watchers of jobs."""
    now = [0.0]
    monkeypatch.setattr("BRBSTrainingLib.JobWatch.time", SimpleNamespace(monotonic=lambda: now[0]))
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def record(folder: Path, state: str, ago: float = 0.0, **more) -> None:
    """Writes what a job says, the heartbeat so many seconds old."""
    queue_job(folder)
    path = folder / "job.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    told = {"state": state, "host": "elsewhere", "pid": 1, "heartbeat": time.time() - ago}
    path.write_text(json.dumps({**content, **told, **more}), encoding="utf-8")


def look(job: BackgroundJob, clock, seconds: float, step: float = 0.25) -> str:
    """Looks at a job often for some time; returns its state at the end."""
    for _ in range(round(seconds / step)):
        clock(step)
        _ = job.state
    return job.state


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_silence_is_no_end_while_the_process_lives(folder: Path, process, clock, state: str) -> None:
    record(folder, state, ago=HOUR, host=platform.node(), pid=process.pid)
    job = BackgroundJob(folder, process)
    assert look(job, clock, 300.0, step=10.0) == state and job.active and not job.isOver
    process.kill()
    process.wait()
    assert job.state == "failed" and job.isOver


def test_job_that_somebody_else_goes_on_with_lives(folder: Path, process) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    record(folder, "running", host=platform.node(), pid=process.pid)
    assert BackgroundJob(folder, ended).state == "running"


def test_job_of_a_process_that_is_gone_has_failed_at_once(folder: Path) -> None:
    record(folder, "running", host=platform.node(), pid=2**22 + 1)
    job = BackgroundJob(folder)
    assert job.state == "failed" and job.isOver


@pytest.mark.parametrize("state", ["queued", "running"])
def test_silence_counts_from_when_it_is_seen(folder: Path, clock, state: str) -> None:
    record(folder, state, ago=HOUR)
    job = BackgroundJob(folder)
    assert look(job, clock, 55.0) == state
    assert look(job, clock, 10.0) == "failed" and not job.active and not job.isOver
    record(folder, state, ago=HOUR / 2)  # a sign of life, by a clock that is slow
    assert job.state == state and job.active
    assert look(job, clock, 55.0) == state


def test_watcher_that_slept_has_seen_no_silence(folder: Path, clock) -> None:
    record(folder, "running", ago=5.0)
    job = BackgroundJob(folder)
    assert look(job, clock, 10.0) == "running"
    clock(8 * HOUR)
    assert job.state == "running" and look(job, clock, 20.0) == "running"
    assert look(job, clock, 30.0) == "failed"


def test_silence_seen_is_known_to_all_who_look(folder: Path, clock) -> None:
    record(folder, "running", ago=HOUR)
    assert look(BackgroundJob(folder), clock, 65.0) == "failed"
    assert BackgroundJob(folder).state == "failed"


def test_job_that_says_it_has_ended_is_over(folder: Path, process) -> None:
    record(folder, "finished", ago=HOUR)
    job = BackgroundJob(folder, process)
    assert job.state == "finished" and job.isOver
