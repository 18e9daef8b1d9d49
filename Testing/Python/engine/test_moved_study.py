"""A study whose folder has been moved, or cannot be written, can be trained and gone on with all the same."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_study import SCHEMA, SETTINGS, content, run
from tiny_training import at_step
from tiny_training import train as train_prepared

from brbs import trainer as trainer_module
from brbs.errors import InputError
from brbs.image_files import list_images
from brbs.job import JobReader
from brbs.locking import LOCK_FILE, lock_holder
from brbs.model import ModelBundle
from brbs.study import Study, pair_folders
from brbs.trainer import Budget


@pytest.fixture
def kept(own_study: Path) -> Path:
    """A study with its scans in one folder."""
    atlases = pair_folders(own_study / "images", own_study / "labels")
    Study(atlases, list_images(own_study / "unlabeled"), SCHEMA, SETTINGS).save(own_study)
    return own_study


@pytest.fixture
def locked_up(kept: Path, model: Path) -> Iterator[Path]:
    """The study where this process may not write; root, who may write anywhere, becomes nobody meanwhile.

    The model's training has imported all that nobody might have no right to read.
    """
    if sys.platform == "win32":
        pytest.skip("Windows knows no folders that cannot be written")
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)  # unlike pytest's folders, which are their owner's alone
        study, output = shutil.copytree(kept, Path(place) / "study"), Path(place) / "elsewhere"
        output.mkdir()
        output.chmod(0o777)
        study.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield study
        finally:
            if root:
                os.seteuid(0)
            study.chmod(0o755)


def train(study: Path, output: Path, *more: object) -> int:
    return run(["train", "--study", study, "--output", output, "--device", "cpu", *more])


def test_training_goes_on_where_its_study_has_been_moved(kept: Path, tmp_path: Path) -> None:
    assert train(kept, kept / "models/001", "--steps", 2) == 0
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = {"user": "Ada", "host": platform.node(), "pid": int(dead.stdout), "started": 0, "job": "models/001/training"}
    (kept / LOCK_FILE).write_text(json.dumps(left), encoding="utf-8")  # as of a killed training

    moved = kept.rename(tmp_path / "Netzlaufwerk")
    assert all(path.is_relative_to(moved) and path.is_file() for path in Study.load(moved).unlabeled)
    assert lock_holder(moved) is None
    assert train(moved, moved / "models/001", "--resume", "--steps", 4) == 0
    told = JobReader(moved / "models/001/training").description
    assert (told["state"], told["study"], told["output"]) == ("finished", str(moved), str(moved / "models/001"))
    assert ModelBundle.load(moved / "models/001").provenance["step"] == 4
    assert not kept.exists() and not (moved / LOCK_FILE).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows may refuse to move what is in use")
def test_training_that_is_moved_while_it_runs_ends_and_can_be_gone_on_with_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trainer_module, "REPORT_SECONDS", 0.0)
    output, moved = tmp_path / "Modell", tmp_path / "anderswo"
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: output.rename(moved) and None)
        with pytest.raises(InputError, match=r"Modell.training: is gone; if it has been moved"):
            train_prepared(output, Budget(steps=4))
    assert not output.exists()
    trained, finished = train_prepared(moved, Budget(steps=4), resume=True)
    assert finished and ModelBundle.load(moved).provenance["step"] == 4


def test_study_that_cannot_be_written_is_trained_elsewhere(locked_up: Path, caplog) -> None:
    before = content(locked_up)
    output = locked_up.parent / "elsewhere/Modell"
    assert train(locked_up, output, "--steps", 1) == 0
    assert "cannot be locked" in caplog.text
    assert ModelBundle.load(output).provenance["step"] == 1
    assert content(locked_up) == before


@pytest.mark.parametrize("command", ["train", "check"])
def test_what_has_to_be_written_there_is_named(locked_up: Path, command: str, capsys) -> None:
    before = content(locked_up)
    arguments = {"train": ["--output", locked_up / "models/001", "--device", "cpu"], "check": []}[command]
    assert run([command, "--study", locked_up, *arguments]) == 2
    told = capsys.readouterr().err
    assert str(locked_up) in told and "cannot be written" in told and "Traceback" not in told
    assert content(locked_up) == before
