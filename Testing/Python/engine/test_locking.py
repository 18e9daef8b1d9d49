"""The lock of a study: held by the living, taken over from the dead, and removed by its owner alone."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from children import environment

from brbs import locking
from brbs.errors import InputError
from brbs.job import JobWriter
from brbs.locking import LOCK_FILE, lock_holder, study_lock

LONG_AGO = 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "Köpfe und mehr"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def dead() -> int:
    """Number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def put_lock(folder: Path, age: float = 0.0, **changes: object) -> None:
    content = {"user": "Ada", "host": platform.node(), "pid": os.getpid(), "started": time.time() - age}
    (folder / LOCK_FILE).write_text(json.dumps({**content, "job": "models/001/training", **changes}), encoding="utf-8")


def set_job(folder: Path, silent: float = 0.0, **changes: object) -> None:
    """A running job as another computer would have written it."""
    job = folder / "models/001/training"
    with JobWriter(job):
        content = json.loads((job / "job.json").read_text(encoding="utf-8"))
    content |= {"heartbeat": time.time() - silent, **changes}
    (job / "job.json").write_text(json.dumps(content), encoding="utf-8")


def assert_taken_over(folder: Path) -> None:
    assert lock_holder(folder) is None
    with study_lock(folder, folder / "models/002/training"):
        assert json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))["job"] == "models/002/training"
    assert not [path for path in folder.iterdir() if path.is_file()]


def assert_held(folder: Path, by: str = "Ada") -> None:
    before = (folder / LOCK_FILE).read_bytes()
    with pytest.raises(InputError, match=by), study_lock(folder, folder / "models/002/training"):
        pytest.fail("two train at once")
    assert (folder / LOCK_FILE).read_bytes() == before and by in lock_holder(folder)


def test_a_training_keeps_others_away_and_cleans_up(folder: Path) -> None:
    assert lock_holder(folder) is None
    with study_lock(folder, folder / "models" / "001" / "training"):
        content = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
        assert (content["host"], content["pid"], content["job"]) == (
            platform.node(),
            os.getpid(),
            "models/001/training",
        )
        assert content["user"] and abs(content["started"] - time.time()) < 60
        assert_held(folder, by=content["user"])
    assert lock_holder(folder) is None and not list(folder.iterdir())


def test_lock_goes_when_the_training_fails(folder: Path) -> None:
    with pytest.raises(InputError, match="truncated"), study_lock(folder, folder / "models/001/training"):
        raise InputError("scan.nrrd: is truncated")
    assert not list(folder.iterdir())


def test_holder_is_told_in_one_sentence(folder: Path) -> None:
    started = time.mktime((2026, 11, 22, 14, 5, 0, 0, 0, -1))
    put_lock(folder, started=started, host="elsewhere")
    set_job(folder, host="elsewhere", state="running")
    told = f"{folder}: Ada on elsewhere has been training it since 2026-11-22 14:05 (models/001); "
    assert lock_holder(folder) == told + "wait for it or stop it first"


def test_lock_of_a_process_that_is_gone_is_taken_over(folder: Path, dead: int, caplog) -> None:
    put_lock(folder, pid=dead)
    assert_taken_over(folder)
    assert f"Ada on {platform.node()}" in caplog.text and str(folder) in caplog.text


def test_number_of_a_dead_training_that_another_process_has_now_does_not_count(folder: Path) -> None:
    put_lock(folder, age=LONG_AGO)
    set_job(folder, state="running", silent=LONG_AGO)
    assert_taken_over(folder)


def test_lock_of_a_training_that_has_just_begun_is_held(folder: Path) -> None:
    put_lock(folder, host="elsewhere")
    assert_held(folder)


def test_training_that_has_said_that_it_has_ended_holds_no_longer(folder: Path) -> None:
    put_lock(folder)
    set_job(folder, state="finished")
    assert lock_holder(folder) is None


@pytest.mark.parametrize("state", ["running", "paused"])
def test_lock_of_another_computer_lives_by_its_job(folder: Path, state: str, dead: int) -> None:
    put_lock(folder, age=LONG_AGO, host="elsewhere", pid=dead)
    set_job(folder, host="elsewhere", state=state)
    assert_held(folder)


@pytest.mark.parametrize("changes", [{"state": "running", "silent": LONG_AGO}, {"state": "finished"}])
def test_lock_of_another_computer_dies_with_its_job(folder: Path, changes: dict) -> None:
    put_lock(folder, age=LONG_AGO, host="elsewhere")
    set_job(folder, host="elsewhere", **changes)
    job = (folder / "models/001/training/job.json").read_bytes()
    assert_taken_over(folder)
    assert (folder / "models/001/training/job.json").read_bytes() == job


@pytest.mark.parametrize("content", ["", "{", "[]", '{"user": "Ada"}', '{"pid": "many"}'])
def test_unreadable_lock_counts_while_it_is_young(folder: Path, content: str) -> None:
    path = folder / LOCK_FILE
    path.write_text(content, encoding="utf-8")
    assert_held(folder, by="somebody")
    os.utime(path, (time.time() - LONG_AGO,) * 2)
    assert_taken_over(folder)


def test_a_lock_taken_by_somebody_quicker_is_left_to_them(folder: Path, dead: int, monkeypatch) -> None:
    put_lock(folder, pid=dead)
    plain = os.rename

    def rename(source, target) -> None:
        monkeypatch.setattr(os, "rename", plain)
        put_lock(folder, user="Bea")
        plain(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(InputError, match="Bea"), study_lock(folder, folder / "models/002/training"):
        pytest.fail("two train at once")
    assert "Bea" in lock_holder(folder)


def test_of_many_at_once_one_gets_the_lock(folder: Path, dead: int) -> None:
    put_lock(folder, pid=dead)
    outcomes, ready = [], threading.Barrier(8)

    def attempt() -> None:
        ready.wait()
        try:
            with study_lock(folder, folder / "models/002/training"):
                outcomes.append("got it")
                time.sleep(0.5)
        except InputError:
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["got it"] + 7 * ["refused"]


def test_of_several_processes_at_once_one_gets_the_lock_and_gives_it_back(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from brbs.errors import InputError\n"
        "from brbs.locking import study_lock\n"
        "study, begin = map(Path, sys.argv[1:])\n"
        "print('ready', flush=True)\n"
        "while not begin.exists(): time.sleep(0.001)\n"
        "try:\n"
        "    with study_lock(study, study / 'models/001/training'):\n"
        "        print('got it', flush=True)\n"
        "        sys.stdin.read()\n"
        "except InputError:\n"
        "    print('refused', flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "begin")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment()}
    children = [subprocess.Popen(command, **pipes) for _ in range(4)]
    assert [child.stdout.readline() for child in children] == 4 * ["ready\n"]
    (tmp_path / "begin").touch()
    assert sorted(child.stdout.readline() for child in children) == ["got it\n"] + 3 * ["refused\n"]
    for child in children:
        child.communicate(timeout=60)
    assert lock_holder(folder) is None and not list(folder.iterdir())


def test_only_the_own_lock_is_removed(folder: Path) -> None:
    with study_lock(folder, folder / "models/001/training"):
        put_lock(folder, user="Bea")
    assert "Bea" in lock_holder(folder)


def test_folder_of_a_new_study_is_made_and_goes_again_if_nothing_comes_into_it(tmp_path: Path) -> None:
    study = tmp_path / "new" / "study"
    with study_lock(study, tmp_path / "model/training"):
        content = json.loads((study / LOCK_FILE).read_text(encoding="utf-8"))
        assert content["job"] == str(tmp_path / "model/training")  # not in the study
    assert not list(tmp_path.iterdir())
    with study_lock(study, tmp_path / "model/training"):
        (study / "study.json").touch()
    assert [path.name for path in study.iterdir()] == ["study.json"]


def test_a_study_that_cannot_be_written_can_be_trained_from(folder: Path, monkeypatch, caplog) -> None:
    def refuse(*_) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(locking.os, "open", refuse)
    with study_lock(folder, folder / "models/001/training"):
        assert not list(folder.iterdir())
    assert str(folder) in caplog.text and "Permission denied" in caplog.text
