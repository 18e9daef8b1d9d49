"""Confidence is the Dice that probabilities promise, and falls where registered atlases contradict."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_model import tiny_bundle
from tiny_study import on_grid, subject

from brbs.confidence import SHARPENING, Confidence, agreement, as_drawn, expected_dice, sharpened, uncertainty
from brbs.metrics import dice
from brbs.predictor import Predictor, Segmentation

CPU = torch.device("cpu")


def probabilities(*values: float) -> np.ndarray:
    """Of one structure beside background, in a row of voxels."""
    structure = np.array(values, np.float32).reshape(1, 1, 1, -1)
    return np.concatenate([1 - structure, structure])


@pytest.mark.parametrize("values, expected", [
    ((1, 1, 0, 0), 1.0),  # sure
    ((0.8, 0.8, 0, 0), 2 * 1.6 / (1.6 + 2)),
    ((0.8, 0.8, 0.4, 0.4), 2 * 1.6 / (2.4 + 2)),  # some is thought to lie outside
    ((0, 0, 0, 0), None),  # surely nothing
    ((0.4, 0.4, 0.4, 0.4), 0.0),  # something, but nowhere found
])  # fmt: skip
def test_expected_dice(values: tuple[float, ...], expected: float | None) -> None:
    found = probabilities(*values)
    told = expected_dice(found, found.argmax(0))
    assert told == [None] if expected is None else told == pytest.approx([expected])


def test_expected_dice_is_what_comes_out_when_the_probabilities_are_right() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 20, 20, 20)) * 2
    found = np.exp(logits) / np.exp(logits).sum(0)
    draws = (random.random((1, *found.shape[1:])) > found.cumsum(0)).sum(0)  # a truth by these probabilities
    true = dice(found.argmax(0), draws, (1, 2))
    assert expected_dice(found, found.argmax(0)) == pytest.approx([true[1], true[2]], abs=0.02)


def test_sharpening_raises_the_odds_and_keeps_the_classes() -> None:
    soft = np.array([0.1, 0.6, 0.3], np.float32).reshape(3, 1, 1, 1)
    sharp = sharpened(soft)
    assert sharp.sum() == pytest.approx(1)
    assert (sharp[1] / sharp[2]).item() == pytest.approx(2**SHARPENING)
    assert sharpened(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)).max() == 1


def promise(found: np.ndarray) -> list[float | None]:
    """Of the network alone."""
    return expected_dice(as_drawn(sharpened(found)), found.argmax(0))


def test_outlines_are_known_to_half_a_voxel() -> None:
    """A network that is sure promises what a second person's outline reaches: less for thin structures than thick."""
    promised = {}
    for edge in (2, 4, 8, 32):
        labels = np.zeros((40, 40, 40), int)
        labels[4 : 4 + edge, 4 : 4 + edge, 4 : 4 + edge] = 1
        found = np.eye(2, dtype=np.float32)[labels].transpose(3, 0, 1, 2)
        drawn = as_drawn(found)
        np.testing.assert_allclose(drawn.sum(0), 1, atol=1e-5)
        (promised[edge],) = promise(found)
        second = np.roll(labels, 1, 0)  # drawn a whole voxel away, on two of six sides
        assert promised[edge] > dice(labels, second, (1,))[1]
    assert promised[2] == pytest.approx(0.79, abs=0.02) and promised[32] == pytest.approx(0.986, abs=0.005)
    assert sorted(promised.values()) == [promised[edge] for edge in (2, 4, 8, 32)]


def test_agreement_is_dice_over_all_structures() -> None:
    first, second = np.array([[[0, 1, 1, 2]]]), np.array([[[1, 1, 2, 2]]])
    assert agreement(first, second) == pytest.approx(2 * 2 / (3 + 4))
    assert agreement(first, first) == agreement(first * 0, first * 0) == 1
    assert agreement(first, first * 0) == 0


@pytest.fixture
def seen() -> tuple[Confidence, Segmentation, object]:
    """A confidence, and what a predictor has found in a scan."""
    bundle, image = tiny_bundle(), on_grid(subject(0)[0])
    return Confidence(bundle, CPU), Predictor(bundle, CPU).segment(image), image


def test_atlases_count_only_where_they_contradict(seen) -> None:
    confidence, segmentation, image = seen
    promised = dict(zip(("Hülle", "Kern"), promise(segmentation.found)))
    classes = segmentation.found.argmax(0)
    for share, factor in ((1.0, 1.0), (0.75, 1.0), (0.25, 0.5), (0.0, 0.0)):
        kept = np.zeros(classes.size, bool)
        kept[np.flatnonzero(classes)[: round(share * np.count_nonzero(classes))]] = True
        moved = np.where(kept.reshape(classes.shape) | (classes == 0), classes, 3 - classes)  # the rest is the other
        vote = (moved == np.arange(3)[:, None, None, None]).astype(np.float32)
        confidence._propagation.vote = lambda volume, check, vote=vote: vote
        found = confidence.findings(image, segmentation).confidence
        assert found == pytest.approx({name: factor * value for name, value in promised.items()}, abs=1e-3)


@pytest.mark.parametrize("said", [0.0, 0.5, 1.0])
def test_where_few_atlases_say_anything_the_segmentation_counts_more(seen, said: float) -> None:
    """At faces to which their fields lead from outside; the part of them that says something agrees."""
    confidence, segmentation, image = seen
    vote = segmentation.found.copy()
    vote[..., :3] *= said
    confidence._propagation.vote = lambda volume, check: vote
    unsure = sitk.GetArrayFromImage(confidence.findings(image, segmentation).uncertainty)
    np.testing.assert_allclose(unsure, uncertainty(segmentation.found), atol=1e-3)


@pytest.mark.parametrize("changes", [
    {"registration": None}, {"provenance": {"registration_steps": 0}},
    {"atlas_images": np.zeros((0, 16, 20, 16), np.float16), "atlas_labels": np.zeros((0, 16, 20, 16), np.uint8)},
])  # fmt: skip
def test_without_registration_probabilities_count_alone(changes: dict) -> None:
    bundle, image = tiny_bundle(**changes), on_grid(subject(0)[0])
    segmentation = Predictor(bundle, CPU).segment(image)
    findings = Confidence(bundle, CPU).findings(image, segmentation)
    assert list(findings.confidence.values()) == pytest.approx(promise(segmentation.found))
    assert findings.uncertainty.GetSize() == image.GetSize()


def test_the_trained_field_of_view_of_a_larger_scan_counts() -> None:
    bundle = tiny_bundle()
    confidence, image = Confidence(bundle, CPU), on_grid(np.tile(subject(0)[0], (2, 1, 2)))
    segmentation = Predictor(bundle, CPU).segment(image)
    assert segmentation.found.shape == (3, *bundle.grid.shape)
    volumes = []
    confidence._propagation.vote = lambda volume, check: volumes.append(volume) or np.zeros((3, *volume.shape))
    assert confidence.findings(image, segmentation).uncertainty.GetSize() == image.GetSize()
    lattice = bundle.grid.lattice(image, segmentation.placement)
    z, y, x = lattice.position(bundle.grid)
    depth, height, width = bundle.grid.shape
    whole = lattice.sample_image(image, segmentation.placement)
    np.testing.assert_allclose(whole[z : z + depth, y : y + height, x : x + width], volumes[0], atol=1e-6)


def test_uncertainty_is_entropy() -> None:
    sure = np.zeros((2, 1, 1, 1), np.float32)
    sure[0] = 1
    assert uncertainty(sure).item() == pytest.approx(0, abs=1e-4)
    assert uncertainty(np.full((2, 1, 1, 1), 0.5, np.float32)).item() == pytest.approx(1, abs=1e-4)
