"""What a power cut leaves: a broken last line, a half-written file aside, at worst a torn checkpoint."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from tiny_study import run
from tiny_training import train, weights

from brbs.errors import InputError
from brbs.files import write_json
from brbs.job import JobReader
from brbs.model import ModelBundle
from brbs.trainer import Budget


@pytest.fixture
def cut(model: Path, tmp_path: Path) -> Path:
    """A model whose training ended for want of power."""
    return shutil.copytree(model, tmp_path / "Modell")


def test_content_is_on_the_disk_before_the_name_is_given(tmp_path: Path, monkeypatch) -> None:
    done, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append(("content", os.fstat(number).st_size)))
    monkeypatch.setattr(os, "replace", lambda source, target: (done.append(("name", target)), replace(source, target)))
    write_json(tmp_path / "job.json", {"format": 1})
    path = tmp_path / "job.json"
    assert done == [("content", path.stat().st_size), ("name", path)]


def test_broken_line_and_half_written_files_cost_nothing(cut: Path) -> None:
    training = cut / "training"
    with (training / "events.jsonl").open("ab") as stream:
        stream.write(b'{"time": 1.0, "kind": "losses", "st')
    checkpoint = (training / "last.pt").read_bytes()
    for name in (training / ".partial-1-last.pt", training / ".partial-1-job.json", cut / ".partial-1-model.json"):
        name.write_bytes(checkpoint[:1000])
    before, _ = JobReader(training).events()
    assert run(["train", "--output", cut, "--resume", "--device", "cpu", "--steps", "7"]) == 0
    events, _ = JobReader(training).events()
    assert events[: len(before)] == before
    assert [event["step"] for event in events[len(before) :] if event["kind"] == "losses"] == [7]
    assert not list(cut.rglob(".partial-*"))


def test_torn_checkpoint_is_stood_in_for_by_the_model(tmp_path: Path, caplog) -> None:
    before, _ = train(tmp_path, Budget(steps=6))
    path = tmp_path / "training/last.pt"
    path.write_bytes(path.read_bytes()[:5000])
    taken: list[dict[str, torch.Tensor]] = []
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING, "brbs"):
        patch.setattr("brbs.trainer.Trainer.run", lambda self: bool(taken.append(weights(self))))
        again, _ = train(tmp_path, Budget(steps=8), resume=True)
    assert (again.step, again.metrics, again.best_dice) == (6, before.metrics, before.metrics["mean"])
    assert again.seconds == pytest.approx(before.seconds, abs=0.6)
    assert again.learner.own_steps == before.learner.own_steps and before.learner.own_steps["segmentation"] > 0
    assert f"{path}: damaged" in caplog.text and "going on from the model of step 6" in caplog.text
    model = {name: value for name, value in weights(before).items() if not name.startswith("segmentation.")}
    assert model and all(torch.equal(taken[0][name], value) for name, value in model.items())
    assert all(torch.equal(taken[0][name.replace("teacher.", "segmentation.")], model[name]) for name in model)
    rest, finished = train(tmp_path, Budget(steps=8), resume=True)
    assert finished and rest.step == 8 and ModelBundle.load(tmp_path).provenance["step"] == 8


def test_torn_checkpoint_without_a_model_is_refused(cut: Path, capsys) -> None:
    path = cut / "training/last.pt"
    path.write_bytes(b"")
    (cut / "model.json").write_bytes(b"")
    assert run(["train", "--output", cut, "--resume", "--device", "cpu", "--steps", "7"]) == 2
    told = capsys.readouterr().err
    assert f"{path}: damaged" in told and "--overwrite" in told


def test_torn_best_weights_leave_the_last_ones(tmp_path: Path, caplog) -> None:
    train(tmp_path, Budget(steps=2), validation=1)
    path = tmp_path / "training/best.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brbs.trainer.Trainer.validate", lambda self: path.write_bytes(b"torn"))
        trained, finished = train(tmp_path, Budget(steps=3), resume=True, validation=1)
    assert finished and f"{path}: damaged" in caplog.text
    last = trained.learner.teacher.state_dict()
    assert all(torch.equal(value, last[name]) for name, value in ModelBundle.load(tmp_path).segmentation.items())


def test_unreadable_description_of_the_training_is_named(cut: Path, capsys) -> None:
    path = cut / "training/job.json"
    path.write_bytes(b"")
    assert run(["train", "--output", cut, "--resume", "--device", "cpu"]) == 2
    assert str(path) in capsys.readouterr().err
    with pytest.raises(InputError, match=r"job\.json"):
        _ = JobReader(cut / "training").state
