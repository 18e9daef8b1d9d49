"""Samples on request: what the phase learns from, as files, without a trace in the training."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_study import SCHEMA, SETTINGS, SIZE, SPACING, prepared_study
from tiny_training import training_data

from brbs import learner as learner_module
from brbs import trainer as trainer_module
from brbs.errors import InputError
from brbs.job import JobReader, JobWriter
from brbs.learner import Learner
from brbs.sample import draw_sample
from brbs.settings import PAPER, Settings
from brbs.trainer import Budget, Trainer
from brbs.volumes import read_label_schema

CPU = torch.device("cpu")
PUBLISHED = replace(PAPER, channels=SETTINGS.channels)
STEPS = 8


def train(output: Path, settings: Settings = SETTINGS, ask_after: tuple[int, ...] = ()) -> Trainer:
    """Trains a few steps; after some of them a sample is asked for."""
    with JobWriter(output / "training") as job:
        trainer = Trainer(prepared_study(), settings, Budget(steps=STEPS), CPU, output, job)
        plain = trainer.learner.step

        def step(progress: float):
            losses = plain(progress)
            if trainer.step + 1 in ask_after:
                JobReader(output / "training").request_sample()
            return losses

        trainer.learner.step = step
        assert trainer.run()
    return trainer


def samples(output: Path) -> list[dict]:
    return [event for event in JobReader(output / "training").events()[0] if event["kind"] == "sample"]


def plain_state(value) -> list[torch.Tensor]:
    """All numbers of a nested state, in order."""
    if isinstance(value, dict):
        return [part for key in sorted(value, key=str) for part in plain_state(value[key])]
    if isinstance(value, list | tuple):
        return [part for entry in value for part in plain_state(entry)]
    return [torch.as_tensor(value)] if isinstance(value, torch.Tensor | int | float) else []


@pytest.mark.parametrize("settings", [SETTINGS, PUBLISHED], ids=["default", "published"])
def test_training_is_the_same_bit_for_bit_whether_samples_are_shown_or_not(
    tmp_path: Path, monkeypatch, settings: Settings
) -> None:
    monkeypatch.setattr(learner_module, "REFRESH_SHARE", 0.2)
    without = train(tmp_path / "without", settings)
    shown = train(tmp_path / "shown", settings, ask_after=tuple(range(1, STEPS)))
    assert [event["step"] for event in samples(tmp_path / "shown")] == list(range(1, STEPS))
    one, other = (plain_state(trainer.learner.state_dict()) for trainer in (without, shown))
    assert len(one) == len(other) > 50
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not (tmp_path / "shown/training/sample.request").exists()


def test_sample_is_written_with_geometry_structures_and_names(tmp_path: Path) -> None:
    trainer = train(tmp_path, ask_after=(1, 7))
    bent, generated = samples(tmp_path)
    assert {"image", "labels", "atlas", "step"} <= bent.keys() and not {"style", "space", "alpha"} & bent.keys()
    assert generated["atlas"] in ("atlas 0", "atlas 1") and 0 <= generated["alpha"] <= 1 and 0 <= generated["beta"] <= 1
    assert {generated["style"], generated["space"]} < {"scan 0", "scan 1", "scan 2"}
    folder = tmp_path / "training"
    image, labels = (sitk.ReadImage(str(folder / generated[name])) for name in ("image", "labels"))
    for volume in (image, labels):
        assert (volume.GetSize(), volume.GetSpacing()) == (SIZE, SPACING)
        np.testing.assert_allclose(volume.GetOrigin(), trainer.prepared.grid.origin)
    values = sitk.GetArrayFromImage(image)
    assert values.dtype == np.float32 and 0 <= values.min() < values.max() <= 1
    assert {0, 3} <= set(np.unique(sitk.GetArrayFromImage(labels))) <= {0, *SCHEMA.values}
    assert [segment[:2] for segment in read_label_schema(folder / generated["labels"])] == [(3, "Hülle"), (70, "Kern")]
    assert sorted(path.name for path in (folder / "sample").iterdir()) == ["image.nrrd", "labels.seg.nrrd"]


def learner_of(settings: Settings) -> Learner:
    return Learner(training_data(), settings, settings.channels)


@pytest.mark.parametrize("progress", [0.1, 0.4, 0.9])
def test_samples_follow_their_generator_alone(progress: float) -> None:
    learner = learner_of(SETTINGS)
    one, again, other = (draw_sample(learner, progress, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.image, again.image) and torch.equal(one.labels, again.labels)
    assert not torch.equal(one.image, other.image)
    assert (one.scans is None) == (progress < 0.3)


def test_label_map_lies_on_the_structures_of_the_image() -> None:
    """The study's tissues are the brighter the higher the class; contrast changes keep that on average."""
    learner = learner_of(SETTINGS)
    generator = torch.Generator().manual_seed(0)
    for progress in (0.1, 0.9):
        drawn = [draw_sample(learner, progress, generator) for _ in range(10)]
        means = [[float(sample.image[sample.labels == index].mean()) for index in (0, 1)] for sample in drawn]
        assert np.mean([inside > outside for outside, inside in means]) > 0.7


def test_a_sample_that_cannot_be_written_does_not_end_the_training(tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(*_) -> None:
        raise InputError("image.nrrd: cannot be written (disk full)")

    monkeypatch.setattr(trainer_module, "write_sample", refuse)
    assert train(tmp_path, ask_after=(2,)).step == STEPS
    assert "disk full" in caplog.text and samples(tmp_path) == []


def test_a_paused_training_shows_samples_too(tmp_path: Path, monkeypatch) -> None:
    reader = JobReader(tmp_path / "training")
    naps = iter([reader.request_sample, lambda: None, reader.resume])
    clock = SimpleNamespace(monotonic=time.monotonic, strftime=time.strftime, sleep=lambda seconds: next(naps)())
    monkeypatch.setattr(trainer_module, "time", clock)
    with JobWriter(tmp_path / "training") as job:
        reader.request_pause()
        assert Trainer(prepared_study(), SETTINGS, Budget(steps=2), CPU, tmp_path, job).run()
    assert [event["step"] for event in samples(tmp_path)] == [0]
