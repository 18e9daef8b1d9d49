"""The computer's clock is set back while a training runs: only times of day go back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tiny_training import at_step, train

from brbs import trainer as trainer_module
from brbs.errors import InputError
from brbs.job import JobReader, JobWriter, queue_job
from brbs.locking import lock_holder, study_lock
from brbs.trainer import Budget

HOUR = 3600.0


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch):
    """Sets the clock back by an hour when called."""
    plain = time.time
    return lambda: monkeypatch.setattr(time, "time", lambda: plain() - HOUR)


def test_training_counts_on(tmp_path: Path, monkeypatch, set_back) -> None:
    monkeypatch.setattr(trainer_module, "REPORT_SECONDS", 0.0)
    at_step(monkeypatch, 3, set_back)
    begun = time.monotonic()
    trained, finished = train(tmp_path, Budget(steps=5, minutes=10))
    job = JobReader(tmp_path / "training")
    events = [event for event in job.events()[0] if event["kind"] == "losses"]
    assert finished and job.state == "finished"
    assert [event["step"] for event in events] == [1, 2, 3, 4, 5]
    assert events[0]["time"] - events[-1]["time"] > HOUR / 2, "else the clock was not set back"
    seconds = [event["seconds"] for event in events]
    assert seconds == sorted(seconds) and 0 < trained.seconds < time.monotonic() - begun


def test_running_and_queued_jobs_stay_what_they_are(tmp_path: Path, set_back) -> None:
    reader, queued = JobReader(tmp_path / "running"), JobReader(tmp_path / "queued")
    queue_job(queued.folder)
    with JobWriter(reader.folder) as job:
        set_back()
        assert (reader.state, queued.state) == ("running", "queued")
        job.update(message="goes on")
        assert (reader.state, reader.message) == ("running", "goes on")
        assert abs(reader.description["heartbeat"] - time.time()) < 60
    assert reader.state == "finished"


def test_lock_holds_and_is_given_back(tmp_path: Path, set_back) -> None:
    study, training = tmp_path / "study", tmp_path / "study/models/001/training"
    study.mkdir()
    with study_lock(study, training), JobWriter(training):
        set_back()
        assert lock_holder(study)
        with pytest.raises(InputError, match="has been training it"), study_lock(study, training):
            pytest.fail("two train at once")
    assert lock_holder(study) is None and not list(study.glob("*.lock"))
