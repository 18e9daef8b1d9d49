"""The command ``train`` before the first step: seen by its watcher, stopped, failing, alone with its study."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from children import environment
from tiny_study import SCHEMA, SETTINGS, content, run, train_arguments

from brbs import step_timing, train_command
from brbs.errors import InputError
from brbs.grid_choice import SMALLEST_BUDGET
from brbs.image_files import list_images
from brbs.job import JobReader, queue_job
from brbs.locking import LOCK_FILE, lock_holder
from brbs.settings import PRESETS
from brbs.study import Study, pair_folders


@pytest.fixture
def kept(study: Path, tmp_path: Path) -> Path:
    """Folder of a study that is described by its ``study.json``."""
    atlases = pair_folders(study / "images", study / "labels")
    Study(atlases, list_images(study / "unlabeled"), SCHEMA, SETTINGS).save(tmp_path / "Köpfe")
    return tmp_path / "Köpfe"


@pytest.fixture
def queued(kept: Path) -> Path:
    """Model folder of the study in which a watcher has queued a training."""
    queue_job(kept / "models/001/training", study=str(kept))
    (kept / "models/001/training/log.txt").touch()
    return kept / "models/001"


def train(study: Path, output: Path, *more: object) -> int:
    return run(["train", "--study", study, "--output", output, "--device", "cpu", *more])


def lock(study: Path) -> None:
    """Somebody else, elsewhere, has just begun to train the study."""
    who = {"user": "Ada", "host": "elsewhere", "pid": 1, "started": time.time(), "job": "models/007/training"}
    (study / LOCK_FILE).write_text(json.dumps(who), encoding="utf-8")


def test_the_watcher_sees_the_scans_being_read(kept: Path, queued: Path, monkeypatch) -> None:
    job, seen = JobReader(queued / "training"), []
    plain = train_command.prepare

    def prepare(study, budget, progress):
        def tell(done: float, what: str) -> None:
            progress(done, what)
            seen.append((job.state, job.progress, job.message, lock_holder(kept) is not None))

        return plain(study, budget, tell)

    monkeypatch.setattr(train_command, "prepare", prepare)
    assert train(kept, queued, "--steps", 2) == 0
    assert seen[0] == ("running", 0.0, "reading atlas 0 (1 of 7)", True)
    assert seen[-1] == ("running", 0.0, "placing scan 102 (7 of 7)", True)
    assert (job.state, lock_holder(kept)) == ("finished", None) and (queued / "model.json").is_file()
    assert sorted(path.name for path in kept.iterdir()) == ["models", "study.json"]


def test_a_time_limit_bounds_the_voxels_unless_their_size_is_set(kept: Path, tmp_path: Path, monkeypatch) -> None:
    plain, budgets = train_command.prepare, []
    slow = {"volume": 32**3, "coarse": 0.01, "warm-up": 0.1, "registration": 0.05, "together": 0.3}
    monkeypatch.setattr(step_timing, "step_seconds", lambda device, classes: {"seconds_per_step": slow})
    monkeypatch.setattr(train_command, "prepare", lambda *given: budgets.append(given[1]) or plain(*given))
    lengths = (["--steps", 1], ["--steps", 1, "--minutes", 60], ["--steps", 1, "--minutes", 6])
    for number, options in enumerate([*lengths, ["--steps", 1, "--minutes", 1], [*lengths[2], "--spacing", 1, 1.5, 2]]):
        assert train(kept, tmp_path / str(number), *options) == 0
    free, much, some, least, chosen = budgets
    assert free == chosen >= much > some > least == SMALLEST_BUDGET


def test_the_job_tells_what_is_trained(kept: Path, queued: Path) -> None:
    assert train(kept, queued, "--steps", 1, "--minutes", 5) == 0
    told = JobReader(queued / "training").description
    assert (told["study"], told["output"], told["user"]) == (str(kept), str(queued), getpass.getuser())
    assert (told["atlases"], told["unlabeled"]) == (2, 3)
    assert (told["steps"], told["minutes"], told["device"]) == (1, 5.0, "cpu")
    assert told["settings"] == SETTINGS.to_json()
    assert run(["train", "--output", queued, "--resume", "--device", "cpu", "--steps", 2]) == 0
    again = JobReader(queued / "training").description
    assert {"steps": 2, "minutes": None}.items() <= again.items()
    same = ("study", "output", "user", "atlases", "unlabeled", "settings")
    assert [again[name] for name in same] == [told[name] for name in same]


@pytest.mark.parametrize(("options", "preset"), [([], "balanced"), (["--preset", "fast"], "fast")])
def test_the_preset_tells_how_long_to_train(kept: Path, queued: Path, options: list[str], preset: str) -> None:
    JobReader(queued / "training").request_stop()
    assert train(kept, queued, *options) == 0
    told = JobReader(queued / "training").description
    assert (told["minutes"], told["steps"]) == (None, PRESETS[preset].steps)


@pytest.mark.parametrize("new", [False, True])
def test_a_stop_while_the_scans_are_read_ends_well(kept: Path, queued: Path, new: bool, monkeypatch) -> None:
    output = kept / "models/002" if new else queued
    plain = train_command.prepare

    def prepare(study, budget, progress):
        JobReader(output / "training").request_stop()
        return plain(study, budget, progress)

    monkeypatch.setattr(train_command, "prepare", prepare)
    assert train(kept, output, "--steps", 2) == 0
    job = JobReader(output / "training")
    assert (job.state, job.message) == ("finished", "stopped before training began")
    assert not (output / "model.json").exists() and lock_holder(kept) is None
    monkeypatch.setattr(train_command, "prepare", plain)
    assert train(kept, output, "--steps", 1) == 0  # nothing was lost, so that nothing is asked


def test_a_stop_while_the_scans_are_read_keeps_the_model_to_be_overwritten(
    study: Path, model: Path, tmp_path: Path, monkeypatch
) -> None:
    output = shutil.copytree(model, tmp_path / "model")
    before = content(output)

    def prepare(study, budget, progress):
        JobReader(output / "training").request_stop()
        progress(0.0, "reading")

    monkeypatch.setattr(train_command, "prepare", prepare)
    assert run(train_arguments(study, output, "--overwrite")) == 0
    (output / "training/stop.request").unlink()
    assert content(output) == before


def test_a_bad_file_is_told_by_the_queued_job(own_study: Path, kept: Path, queued: Path) -> None:
    study = Study.load(kept)
    study.unlabeled = list_images(own_study / "unlabeled")
    study.save(kept)
    study.unlabeled[1].write_bytes(study.unlabeled[1].read_bytes()[:300])
    assert train(kept, queued) == 2
    job = JobReader(queued / "training")
    assert job.state == "failed" and str(study.unlabeled[1]) in job.message
    assert sorted(path.name for path in (queued / "training").iterdir()) == ["job.json", "log.txt"]
    assert lock_holder(kept) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--device", "tpu"], "tpu"), (["--steps", "0"], "--steps 0"), (["--resume"], "how the training was started")],
)
def test_a_queued_job_tells_why_it_did_not_start(kept: Path, queued: Path, options: list[str], told: str) -> None:
    assert train(kept, queued, *options) == 2
    job = JobReader(queued / "training")
    assert job.state == "failed" and told in job.message


def test_a_queued_job_tells_that_pytorch_is_missing(kept: Path, queued: Path, tmp_path: Path) -> None:
    (tmp_path / "broken/torch").mkdir(parents=True)
    (tmp_path / "broken/torch/__init__.py").write_text("raise ModuleNotFoundError('No module', name='torch')")
    paths = os.pathsep.join([str(tmp_path / "broken"), str(Path(train_command.__file__).parents[1])])
    command = [sys.executable, "-m", "brbs", "train", "--study", kept, "--output", queued]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert ended.returncode == 2 and "torch is not installed" in ended.stderr
    job = JobReader(queued / "training")
    assert job.state == "failed" and job.message


def test_a_study_that_somebody_trains_is_left_to_them(kept: Path, queued: Path, capsys) -> None:
    lock(kept)
    before = content(kept / "models")
    assert train(kept, kept / "models/002") == 2
    told = capsys.readouterr().err
    assert f"{kept}: Ada on elsewhere has been training it since" in told and "(models/007)" in told
    assert content(kept / "models") == before and not (kept / "models/002").exists()
    assert train(kept, queued) == 2
    job = JobReader(queued / "training")
    assert job.state == "failed" and "Ada on elsewhere" in job.message and "Ada" in lock_holder(kept)


def test_of_two_trainings_begun_at_once_one_is_refused(kept: Path) -> None:
    command = [sys.executable, "-m", "brbs", "train", "--study", kept, "--device", "cpu", "--minutes", "0.1"]
    both = [
        subprocess.Popen(
            [*command, "--output", kept / "models" / name],
            env=environment(),
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        for name in ("001", "002")
    ]
    told = {process.returncode: text for process in both for text in [process.communicate(timeout=100)[1]]}
    assert set(told) == {0, 2}, told
    assert "has been training it since" in told[2] and len(list(kept.glob("models/*/model.json"))) == 1


def test_a_study_that_is_about_to_be_written_over_is_locked_too(study: Path, kept: Path, capsys) -> None:
    lock(kept)
    before = content(kept)
    assert run(train_arguments(study, kept.parent / "model", "--study", kept)) == 2
    assert "Ada on elsewhere" in capsys.readouterr().err and content(kept) == before


def test_a_training_goes_on_only_while_nobody_else_trains_its_study(kept: Path, capsys) -> None:
    output = kept / "models/001"
    assert train(kept, output, "--steps", 1) == 0
    lock(kept)
    before = content(output)
    assert run(["train", "--output", output, "--resume", "--device", "cpu", "--steps", 2]) == 2  # the study is known
    assert "Ada on elsewhere" in capsys.readouterr().err and content(output) == before
    (kept / LOCK_FILE).unlink()
    assert run(["train", "--output", output, "--resume", "--device", "cpu", "--steps", 2]) == 0


def test_a_training_killed_while_it_was_to_replace_another_is_not_gone_on_with(
    kept: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    output = tmp_path / "model"
    assert train(kept, output, "--steps", 1) == 0
    told = output / "training/job.json"
    with monkeypatch.context() as patch:

        def killed(*_):
            shutil.copy(told, tmp_path)
            raise InputError("killed")

        patch.setattr(train_command, "prepare", killed)
        assert train(kept, output, "--steps", 5, "--overwrite", "--learning-rate", 0.5) == 2
    left = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))  # as it is where nothing can be put back
    told.write_text(json.dumps(left | {"pid": 2**22 + 1}), encoding="utf-8")
    before = content(output)
    capsys.readouterr()
    assert run(["train", "--output", output, "--resume", "--device", "cpu"]) == 2
    assert "was interrupted before it began; train anew with --overwrite" in capsys.readouterr().err
    assert content(output) == before
    assert train(kept, output, "--steps", 1, "--overwrite") == 0


def test_a_lock_left_by_a_killed_training_does_not_hinder(kept: Path, queued: Path) -> None:
    lock(kept)
    who = json.loads((kept / LOCK_FILE).read_text(encoding="utf-8"))
    who |= {"host": platform.node(), "pid": os.getpid(), "started": time.time() - 3600}
    (kept / LOCK_FILE).write_text(json.dumps(who), encoding="utf-8")
    assert train(kept, queued, "--steps", 1) == 0 and not (kept / LOCK_FILE).exists()


def test_a_study_that_is_read_is_not_written(kept: Path, queued: Path) -> None:
    before = (kept / "study.json").read_bytes()
    assert train(kept, queued, "--steps", 1, "--seed", 9) == 0
    assert (kept / "study.json").read_bytes() == before
    assert json.loads((queued / "model.json").read_text(encoding="utf-8"))["settings"]["seed"] == 9
