"""Jobs as folders: what a writer says reaches a reader, through crashes and half-written files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from children import environment

from brbs import job as job_module
from brbs.errors import InputError
from brbs.job import JobReader, JobWriter, fail_queued_job, queue_job


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


def test_queued_job_starts_with_nothing_of_its_announcement(folder: Path) -> None:
    reader = JobReader(folder)
    queue_job(folder, study="Köpfe", state="finished", message="of the job before")
    content = reader.description
    assert (reader.state, reader.progress, reader.message, content["pid"]) == ("queued", 0.0, "", 0)
    assert content["study"] == "Köpfe" and abs(content["started"] - time.time()) < 60
    with JobWriter(folder, output="Modell"):
        assert reader.state == "running" and reader.description["pid"] == os.getpid()
        assert "study" not in reader.description


def test_queued_job_that_stays_silent_has_failed(folder: Path) -> None:
    reader = JobReader(folder)
    queue_job(folder)
    edit(folder, heartbeat=time.time() - 61)
    assert (reader.state, reader.message) == ("failed", "the engine did not start")
    edit(folder, message="waiting for a free GPU")
    assert (reader.state, reader.message) == ("failed", "waiting for a free GPU")


def test_queued_job_is_told_to_have_failed_but_no_other(folder: Path) -> None:
    fail_queued_job(folder, InputError("nothing here"))
    assert not folder.exists()
    queue_job(folder, study="Köpfe")
    fail_queued_job(folder, InputError("study.json: is damaged"))
    reader = JobReader(folder)
    assert (reader.state, reader.message) == ("failed", "study.json: is damaged")
    assert reader.description["study"] == "Köpfe"
    with JobWriter(folder) as job:
        job.update(message="well")
    fail_queued_job(folder, InputError("too late"))
    assert (reader.state, reader.message) == ("finished", "well")


def test_entries_are_added_to_the_description(folder: Path) -> None:
    with JobWriter(folder, kind="train") as job:
        job.update(progress=0.5)
        job.describe(atlases=2)
        assert (JobReader(folder).description["atlases"], JobReader(folder).progress) == (2, 0.5)


def test_interruption_is_told_as_such(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), JobWriter(folder):
        raise KeyboardInterrupt
    assert JobReader(folder).message == "interrupted"


def test_nothing_is_written_after_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "HEARTBEAT_SECONDS", 0.001)
    for _ in range(20):
        with JobWriter(folder):
            time.sleep(0.002)
        shutil.rmtree(folder)
        assert not folder.exists()


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


@pytest.mark.parametrize("request_name", ["request_stop", "request_pause", "request_sample"])
def test_request_to_a_queued_job_counts_and_one_before_does_not(folder: Path, request_name: str) -> None:
    def requested(job: JobWriter) -> bool:
        return job.stop_requested or job.pause_requested or job.sample_requested

    reader = JobReader(folder)
    with JobWriter(folder):
        getattr(reader, request_name)()
    queue_job(folder)
    with JobWriter(folder) as job:
        assert not requested(job)
    queue_job(folder)
    getattr(reader, request_name)()
    with JobWriter(folder) as job:
        assert requested(job)


def test_sample_request_is_answered_once(folder: Path) -> None:
    with JobWriter(folder) as job:
        assert not job.sample_requested
        JobReader(folder).request_sample()
        assert job.sample_requested
        job.clear_sample_request()
        assert not job.sample_requested
        job.clear_sample_request()


def test_events_are_taken_in_bites(folder: Path) -> None:
    reader, taken, offset = JobReader(folder), [], 0
    with JobWriter(folder) as job:
        for number in range(50):
            job.event("step", number=number, text="ä" * (500 if number == 20 else 5))
    while True:
        events, after = reader.events(offset, limit=300)
        if not events:
            break
        assert after - offset <= 300 or [event["number"] for event in events] == [20]
        taken, offset = taken + events, after
    assert [event["number"] for event in taken] == list(range(50))
    assert (taken, offset) == reader.events()


def test_long_event_still_being_written_is_awaited(folder: Path) -> None:
    folder.mkdir()
    line = json.dumps({"kind": "a", "text": "x" * 100})
    (folder / "events.jsonl").write_text(line, encoding="utf-8")
    assert JobReader(folder).events(0, limit=10) == ([], 0)
    (folder / "events.jsonl").write_text(line + "\n", encoding="utf-8")
    assert JobReader(folder).events(0, limit=10) == ([json.loads(line)], len(line) + 1)


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
    subprocess.run([sys.executable, "-c", script], check=False, env=environment())
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
