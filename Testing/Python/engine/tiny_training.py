"""Trainings of the tiny study within this process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_study import SETTINGS, prepared_study

from brbs.data import TrainingData
from brbs.job import JobWriter
from brbs.learner import Learner
from brbs.settings import Settings
from brbs.trainer import Budget, Trainer

CPU = torch.device("cpu")


def training_data() -> TrainingData:
    """The tiny study as a training takes it."""
    prepared = prepared_study()
    arrays = (prepared.atlas_images, prepared.atlas_labels, prepared.unlabeled_images)
    return TrainingData(*arrays, prepared.schema.class_count, prepared.grid.spacing[::-1], CPU)


def train(
    output: Path, budget: Budget, resume: bool = False, settings: Settings = SETTINGS, validation: int = 0
) -> tuple[Trainer, bool]:
    """Trains in ``output``; returns the trainer and whether the budget was used up."""
    with JobWriter(output / "training") as job:
        trainer = Trainer(prepared_study(validation=validation), settings, budget, CPU, output, job)
        if resume:
            trainer.resume()
        return trainer, trainer.run()


def at_step(monkeypatch: pytest.MonkeyPatch, wanted: int, action) -> None:
    """Calls ``action`` when the ``wanted``-th step of the process from now on has been made."""
    plain, count = Learner.step, [0]

    def step(self: Learner, progress: float):
        losses = plain(self, progress)
        count[0] += 1
        return (action() or losses) if count[0] == wanted else losses

    monkeypatch.setattr(Learner, "step", step)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All weights of a training, with those of the average."""
    state = trainer.learner.state_dict()
    networks = [name for name in ("segmentation", "registration", "teacher") if state[name] is not None]
    return {f"{network}.{name}": value for network in networks for name, value in state[network].items()}
