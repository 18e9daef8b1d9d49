"""Jobs as folders: what a writer says reaches a reader, through crashes and half-written files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from brbs import job as job_module
from brbs.errors import InputError
from brbs.job import JobReader, JobWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Auftrag für Müller"


def edit(folder: Path, **values: object) -> None:
    path = folder / "job.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **values}), encoding="utf-8")


def test_life_of_a_job(folder: Path) -> None:
    reader = JobReader(folder)
    assert (reader.state, reader.progress, reader.events()) == ("queued", 0.0, ([], 0))
    with JobWriter(folder, kind="train", output=folder / "Modell") as job:
        assert reader.state == "running"
        assert reader.description["output"] == str(folder / "Modell")
        job.update(state="paused", progress=0.25, message="Schritt 5 für heute")
        assert (reader.state, reader.progress, reader.message) == ("paused", 0.25, "Schritt 5 für heute")
        job.update(state="running")
        assert reader.progress == 0.25
    assert (reader.state, reader.progress) == ("finished", 1.0)


def test_exception_fails_the_job(folder: Path) -> None:
    with pytest.raises(InputError), JobWriter(folder):
        raise InputError("scan.nii.gz: is truncated")
    assert (JobReader(folder).state, JobReader(folder).message) == ("failed", "scan.nii.gz: is truncated")


def test_requests_reach_the_job(folder: Path) -> None:
    reader = JobReader(folder)
    with JobWriter(folder) as job:
        assert not (job.stop_requested or job.pause_requested)
        reader.request_pause()
        assert job.pause_requested
        reader.resume()
        assert not job.pause_requested
        reader.request_stop()
        assert job.stop_requested and reader.state == "stopping"
    assert reader.state == "finished"


def test_stop_before_the_start_counts_but_one_for_an_earlier_job_does_not(folder: Path) -> None:
    JobReader(folder).request_stop()
    with JobWriter(folder) as job:
        assert job.stop_requested
    with JobWriter(folder) as job:
        assert not job.stop_requested


def test_events_arrive_once_and_in_order(folder: Path) -> None:
    reader = JobReader(folder)
    with JobWriter(folder) as job:
        job.event("step", step=1, loss=np.float32(0.5), dice=np.array([0.5, 0.75]))
        events, offset = reader.events(0)
        assert [(e["kind"], e["step"], e["loss"], e["dice"]) for e in events] == [("step", 1, 0.5, [0.5, 0.75])]
        assert abs(events[0]["time"] - time.time()) < 60
        job.event("log", text="Größe ä")
        events, offset = reader.events(offset)
        assert [e["text"] for e in events] == ["Größe ä"]
        assert reader.events(offset) == ([], offset)


def test_half_written_line_is_awaited_and_a_broken_one_skipped(folder: Path) -> None:
    reader, path = JobReader(folder), folder / "events.jsonl"
    with JobWriter(folder) as job:
        job.event("a")
    whole = path.stat().st_size
    with path.open("ab") as stream:
        stream.write('{"kind": "ü'.encode()[:-1])  # killed within a character
    events, offset = reader.events()
    assert ([e["kind"] for e in events], offset) == (["a"], whole)
    with JobWriter(folder) as job:
        job.event("b")
    events, offset = reader.events(offset)
    assert [e["kind"] for e in events] == ["b"]
    assert offset == path.stat().st_size


def test_job_of_a_dead_process_has_failed(folder: Path) -> None:
    script = f"import os; from brbs.job import JobWriter; JobWriter({str(folder)!r}); os._exit(1)"
    environment = {**os.environ, "PYTHONPATH": str(Path(job_module.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script], check=False, env=environment)
    assert json.loads((folder / "job.json").read_text(encoding="utf-8"))["state"] == "running"
    assert JobReader(folder).state == "failed"


def test_silent_job_has_failed_and_one_of_another_computer_lives_by_its_heartbeat(folder: Path) -> None:
    reader = JobReader(folder)
    with JobWriter(folder):
        edit(folder, heartbeat=time.time() - 61)
        assert reader.state == "failed"
        edit(folder, heartbeat=time.time() - 30, host="elsewhere", pid=2**22 + 1)
        assert reader.state == "running"


def test_heart_beats_during_a_long_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "HEARTBEAT_SECONDS", 0.02)
    with JobWriter(folder):
        first = JobReader(folder).description["heartbeat"]
        deadline = time.monotonic() + 10
        while JobReader(folder).description["heartbeat"] == first and time.monotonic() < deadline:
            time.sleep(0.02)
        assert JobReader(folder).description["heartbeat"] > first


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="job.json: cannot be written"):
        JobWriter(tmp_path / "file" / "job")
    with pytest.raises(InputError, match="stop.request"):
        JobReader(tmp_path / "file" / "job").request_stop()


def test_newer_format_is_refused(folder: Path) -> None:
    with JobWriter(folder):
        pass
    edit(folder, format=99)
    with pytest.raises(InputError, match="newer"):
        _ = JobReader(folder).state
