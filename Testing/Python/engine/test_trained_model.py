"""A training can be looked into while it runs: its checkpoint gives a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_inspection import inspection, write_scan
from tiny_study import SETTINGS, prepared_study

from brbs.errors import InputError
from brbs.inspector import inspect
from brbs.job import JobWriter
from brbs.model import ModelBundle
from brbs.trained_model import checkpoint_model
from brbs.trainer import Budget, Trainer


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans and ``model``, a training at step 2 of 100 in its warm-up: a checkpoint, no model."""
    folder = tmp_path_factory.mktemp("training")
    prepared = prepared_study()
    with JobWriter(folder / "model/training", settings=SETTINGS.to_json()) as job:
        trainer = Trainer(prepared, SETTINGS, Budget(steps=100), torch.device("cpu"), folder / "model", job)
        for _ in range(2):
            trainer.learner.step(trainer.progress)
            trainer.step += 1
        prepared.save(folder / "model/training/prepared.npz")
        trainer.save_checkpoint()
        trainer.bundle().save(folder / "expected")
    for name, seed in (("style.nrrd", 100), ("space.nrrd", 101)):
        write_scan(folder / name, seed)
    return folder


@pytest.fixture
def own_training(training: Path, tmp_path: Path) -> Path:
    return shutil.copytree(training, tmp_path / "own")


def test_the_checkpoint_s_model_is_the_training_s(training: Path) -> None:
    found, expected = checkpoint_model(training / "model"), ModelBundle.load(training / "expected")
    for name in ("schema", "grid", "settings", "channels"):
        assert getattr(found, name) == getattr(expected, name)
    for part in ("segmentation", "registration"):
        weights, same = getattr(found, part), getattr(expected, part)
        assert weights.keys() == same.keys() and all(torch.equal(weights[name], same[name]) for name in same)
    np.testing.assert_allclose(found.atlas_images, expected.atlas_images, atol=1e-3)
    assert found.provenance["step"] == 2 and found.provenance["atlases"] == ["atlas 0", "atlas 1"]


def test_without_a_model_the_inspector_takes_the_checkpoint_and_says_so(training: Path, tmp_path: Path) -> None:
    inspect(inspection(training, tmp_path))
    notes = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["notes"]
    assert notes[0] == "networks of the training's last checkpoint, step 2"
    assert "registration network has not been trained yet" in notes[1]


def test_a_model_is_preferred_unless_the_checkpoint_is_asked_for(own_training: Path, tmp_path: Path) -> None:
    bundle = checkpoint_model(own_training / "model")
    bundle.provenance["registration_steps"] = 5
    bundle.save(own_training / "model")
    inspect(inspection(own_training, tmp_path / "best"))
    inspect(inspection(own_training, tmp_path / "last", checkpoint=True))
    best, last = (json.loads((tmp_path / name / "figures.json").read_text("utf-8")) for name in ("best", "last"))
    assert best["notes"] == [] and len(last["notes"]) == 2


def test_a_folder_with_neither_says_what_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model and no checkpoint yet; wait until"):
        checkpoint_model(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match="no checkpoint of its training; use the model"):
        checkpoint_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_damaged_checkpoint_is_named(own_training: Path, content: bytes) -> None:
    (own_training / "model/training/last.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"last\.pt: damaged"):
        checkpoint_model(own_training / "model")


def test_a_training_whose_scans_are_gone_is_named(own_training: Path) -> None:
    (own_training / "model/training/prepared.npz").unlink()
    with pytest.raises(InputError, match=r"prepared\.npz: no such file"):
        checkpoint_model(own_training / "model")
