"""What the networks are taught with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_study import SETTINGS, prepared_study

from brbs.data import TrainingData
from brbs.learner import Learner


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_scans_bring_their_pseudo_label_maps_into_sharp_samples(averaging: float) -> None:
    prepared = prepared_study()
    data = TrainingData(
        prepared.atlas_images,
        prepared.atlas_labels,
        prepared.unlabeled_images,
        prepared.schema.class_count,
        prepared.grid.spacing[::-1],
        torch.device("cpu"),
    )
    settings = replace(SETTINGS, averaging=averaging, augmentation="full")
    learner = Learner(data, settings, settings.channels)
    triple = learner.draw((1, 0), 0.9, learner.generator)
    expected = data.onehot(learner.predict(data.scans[1:2]))
    torch.testing.assert_close(triple.scan_1_source[:, 1:], expected)
    assert expected[:, 1:].any(), "an untrained network that sees background only would hide a mistake"
