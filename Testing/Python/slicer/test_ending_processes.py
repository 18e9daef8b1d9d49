"""Slicer's Python is a launcher with the interpreter as its child: what is ended ends with both."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest
from waiting import wait

from brbs.job import queue_job

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the launcher is a script with a first line for POSIX")

# Starts the interpreter and waits for it, as CTK's launcher does; the interpreter is busy for long.
LAUNCHER = """#!{python}
import subprocess, sys
busy = "import time\\nwhile True: open({beats!r}, 'a').write('.'); time.sleep(0.02)"
sys.exit(subprocess.call([sys.executable, "-c", busy]))
"""


@pytest.fixture
def beats(application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that grows as long as the interpreter works which the launcher has started."""
    beats = tmp_path / "beats"
    launcher = tmp_path / "bin" / "PythonSlicer"
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER.format(python=sys.executable, beats=str(beats)), encoding="utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(launcher.parent), prepend=os.pathsep)
    return beats


@pytest.fixture
def engine(beats: Path):
    from BRBSTrainingLib.Engine import Engine

    return Engine()


def waitUntilBusy(beats: Path) -> None:
    wait(beats.exists, 30)


def busy(beats: Path) -> bool:
    size = beats.stat().st_size
    time.sleep(0.5)
    return beats.stat().st_size > size


def test_call_that_is_given_up_leaves_no_interpreter(engine, beats: Path) -> None:
    from BRBSTrainingLib.EngineCall import EngineCall

    call = EngineCall(engine, ["-m", "brbs", "rank"])
    waitUntilBusy(beats)
    assert busy(beats)
    call.close()
    assert call.exitCode is not None and not busy(beats)


def test_worker_that_does_not_answer_is_ended(engine, beats: Path) -> None:
    from BRBSSegmentationLib.SegmentationWorker import SegmentationWorker

    worker = SegmentationWorker(engine)
    worker.start()
    waitUntilBusy(beats)
    worker.close()
    assert not worker.alive and not busy(beats)


def test_job_that_has_not_told_its_number_is_ended(engine, beats: Path, tmp_path: Path) -> None:
    from BRBSTrainingLib.BackgroundJob import BackgroundJob

    queue_job(tmp_path / "job")
    job = BackgroundJob(tmp_path / "job", engine.start(["-m", "brbs", "train"], tmp_path / "log.txt", detached=True))
    waitUntilBusy(beats)
    job.kill()
    assert not job.active and not busy(beats)
