"""What the networks are taught with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_study import SETTINGS, prepared_study

from brbs.anisotropy import axis_scales
from brbs.augmentation import random_contrast
from brbs.data import Source, TrainingData
from brbs.learner import Learner
from brbs.warp import sample_at


def made_up_data() -> TrainingData:
    prepared = prepared_study()
    return TrainingData(
        prepared.atlas_images,
        prepared.atlas_labels,
        prepared.unlabeled_images,
        prepared.schema.class_count,
        prepared.grid.spacing[::-1],
        torch.device("cpu"),
    )


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_scans_bring_their_pseudo_label_maps_into_sharp_samples(averaging: float, full_precision) -> None:
    data = made_up_data()
    settings = replace(SETTINGS, averaging=averaging, augmentation="full")
    learner = Learner(data, settings, settings.channels)
    triple = learner.draw((1, 0), 0.9, learner.generator)
    expected = learner.predict(data.scans[1:2])
    torch.testing.assert_close(triple.scan_1_source.labels, expected)
    assert expected.any(), "an untrained network that sees background only would hide a mistake"


@pytest.mark.parametrize("progress", [0.2, 0.9], ids=["registration alone", "both networks"])
def test_scans_are_labelled_where_their_label_maps_are_used_and_nowhere_else(progress: float, monkeypatch) -> None:
    """Labelling takes a good part of a step on large scans."""
    data = made_up_data()
    settings = replace(SETTINGS, segmentation_share=0.1, registration_share=0.4, augmentation="full", averaging=0.9)
    learner, used, seen_at = Learner(data, settings, settings.channels), [], Source.labels_at
    missing = data.scan_labels.fill_(255)[0].clone()

    def labels_at(source: Source, positions: torch.Tensor) -> torch.Tensor:
        used.append(source.labels)
        return seen_at(source, positions)

    monkeypatch.setattr(Source, "labels_at", labels_at)
    monkeypatch.setattr(Source, "at", lambda source, at: (sample_at(source.image, at), source.labels_at(at)))
    counts = []
    for _ in range(12):
        data.scan_labels.fill_(255)
        learner.labelled_at.fill_(-torch.inf)
        used.clear()
        learner.step(progress)
        assert not any(torch.equal(labels[0], missing) for labels in used)
        counts.append(int(torch.isfinite(learner.labelled_at).sum()))
    assert set(counts) == {1, 2}, "one scan where R learns from an atlas, two where it learns from scans"


def test_segmentation_begins_on_coarse_volumes_of_the_same_atlases() -> None:
    data, settings = made_up_data(), replace(SETTINGS, segmentation_share=1.0, registration_share=0.0, coarse_share=0.5)
    learner, seen = Learner(data, settings, settings.channels), []
    learner.segmentation.register_forward_pre_hook(lambda network, inputs: seen.append(inputs[0]))
    for progress in (0.0, 0.6):
        learner.generator.manual_seed(7)
        learner.step(progress)
    coarse, whole = seen
    assert tuple(whole.shape[2:]) == data.shape
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool3d(whole, axis_scales(2, data.spacing)))


@pytest.mark.parametrize("augmentation", ["published", "ordinary", "full"])
def test_augmentation_is_what_it_is_called(augmentation: str) -> None:
    data = made_up_data()
    settings = replace(SETTINGS, segmentation_share=1.0, registration_share=0.0, coarse_share=0.0)
    learner, seen = Learner(data, replace(settings, augmentation=augmentation), settings.channels), []
    learner.segmentation.register_forward_pre_hook(lambda network, inputs: seen.append(inputs[0]))
    learner.generator.manual_seed(7)
    learner.step(0.5)
    generator = torch.Generator().manual_seed(7)
    drawn = torch.cat([data.draw_atlas(generator, augmentation)[0] for _ in range(2)])
    expected = drawn if augmentation == "published" else random_contrast(drawn, generator)
    torch.testing.assert_close(seen[0], expected)
