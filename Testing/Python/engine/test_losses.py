"""Losses against answers that are known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from brbs.losses import (
    box_sum,
    cross_entropy_loss,
    dice_loss,
    inverse_loss,
    lncc,
    mix_loss,
    similarity_loss,
    smoothness_loss,
)

SHAPE = (12, 14, 11)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def halves() -> torch.Tensor:
    """One-hot label map (1, 2, 4, 4, 4): class 0 in the lower half, class 1 in the upper."""
    upper = torch.zeros(1, 1, 4, 4, 4)
    upper[:, :, 2:] = 1
    return torch.cat([1 - upper, upper], dim=1)


@pytest.mark.parametrize("window", [3, 5, 9])
def test_box_sum_is_the_dense_convolution_with_ones_and_so_is_its_gradient(window: int) -> None:
    x, weight = noise(2, 1, 5, 12, 7).double().requires_grad_(), noise(2, 1, 5, 12, 7, seed=1).double()
    dense = F.conv3d(x, torch.ones(1, 1, window, window, window, dtype=torch.double), padding=window // 2)
    fast = box_sum(x, window)
    torch.testing.assert_close(fast, dense)
    gradients = [torch.autograd.grad((sums * weight).sum(), x)[0] for sums in (fast, dense)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("window", [1, 2, 4, 7])
def test_box_sum_refuses_windows_it_would_get_wrong(window: int) -> None:
    with pytest.raises(ValueError, match="window"):
        box_sum(noise(1, 1, 8, 8, 8), window)


def test_flat_areas_that_are_not_zero_give_lncc_no_wild_gradient() -> None:
    flat = torch.full((1, 1, 24, 24, 24), 0.9, requires_grad=True)
    loss = lncc(flat, 0.5 + 0.05 * noise(1, 1, 24, 24, 24))
    assert torch.autograd.grad(loss, flat)[0].abs().max() < 0.01


def test_lncc_is_one_for_images_alike_up_to_contrast() -> None:
    image = noise(1, 1, *SHAPE)
    assert lncc(image, image) == pytest.approx(1, abs=1e-3)
    inside = (..., slice(4, -4), slice(4, -4), slice(4, -4))  # a constant offset shows where the window meets the edge
    padded = F.pad(image[inside], [8] * 6)
    assert lncc(padded, 0.5 * padded) == pytest.approx(float(lncc(padded, padded)), abs=1e-3)
    assert lncc(padded, -padded) == pytest.approx(float(lncc(padded, padded)), abs=1e-6)


def test_lncc_tells_strangers_and_nothing_from_nothing() -> None:
    first, second = noise(1, 1, *SHAPE) - 0.5, noise(1, 1, *SHAPE, seed=1) - 0.5  # of mean 0, so that edges do not tell
    assert lncc(first, second) < 0.05
    assert lncc(torch.zeros(1, 1, *SHAPE), noise(1, 1, *SHAPE)) == 0
    assert similarity_loss(torch.zeros(1, 1, *SHAPE), noise(1, 1, *SHAPE)) == 1


def test_lncc_is_that_of_dense_convolutions() -> None:
    a, b = noise(1, 1, *SHAPE).double(), noise(1, 1, *SHAPE, seed=1).double()
    b = 0.6 * b + 0.4 * a
    ones = torch.ones(1, 1, 9, 9, 9, dtype=torch.double)
    mean_a, mean_b, aa, bb, ab = (F.conv3d(x, ones, padding=4) / 729 for x in (a, b, a * a, b * b, a * b))
    cross, variances = 729 * (ab - mean_a * mean_b), 729**2 * (aa - mean_a**2) * (bb - mean_b**2)
    assert float(lncc(a, b)) == pytest.approx(float((cross**2 / (variances + 1e-5)).mean()), rel=1e-4)


def test_smoothness_of_a_steady_stretch() -> None:
    flow = torch.zeros(1, 3, 5, 6, 7)
    flow[:, 1] = 2 * torch.arange(6.0).view(1, 6, 1)
    assert float(smoothness_loss(flow)) == pytest.approx(2**2 / 3 / 3)  # one of 3 components along one of 3 axes
    assert float(smoothness_loss(flow + 4)) == pytest.approx(2**2 / 3 / 3)


def test_dice_loss_runs_from_zero_to_almost_one() -> None:
    labels = halves()
    assert float(dice_loss(labels, labels)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(labels, labels.flip(1))) == pytest.approx(1 - 1 / 65)  # no overlap: 1 / (32 + 32 + 1)


def test_dice_loss_counts_every_class_alike() -> None:
    labels = torch.zeros(1, 2, 4, 4, 4)
    labels[:, 0] = 1
    labels[:, :, 0, 0, 0] = torch.tensor([0.0, 1.0])  # one voxel of class 1
    missed = torch.zeros_like(labels)
    missed[:, 0] = 1
    expected = 1 - ((2 * 63 + 1) / (64 + 63 + 1) + 1 / 2) / 2
    assert float(dice_loss(missed, labels)) == pytest.approx(expected)


def test_cross_entropy() -> None:
    labels = halves()
    assert float(cross_entropy_loss(torch.zeros(1, 2, 4, 4, 4).log_softmax(1), labels)) == pytest.approx(math.log(2))
    assert float(cross_entropy_loss((100 * labels).log_softmax(1), labels)) == pytest.approx(0, abs=1e-6)
    assert float(cross_entropy_loss((-100 * labels).log_softmax(1), labels)) == pytest.approx(100)


def told(classes: torch.Tensor, chances: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities and one-hot label map of 64 voxels, the right class of each having the chance given for it."""
    labels = torch.nn.functional.one_hot(classes, len(chances)).T.reshape(1, len(chances), 4, 4, 4).float()
    chance = torch.tensor(chances)[classes].reshape(1, 1, 4, 4, 4)
    return torch.log(torch.where(labels > 0, chance, (1 - chance) / (len(chances) - 1))), labels


def test_cross_entropy_counts_a_small_class_for_more_until_it_is_found() -> None:
    classes = torch.zeros(64, dtype=torch.long)
    classes[:4] = 1
    missed, labels = told(classes, (1 - 1e-7, 1e-6))
    shares = torch.tensor([60.0, 4.0])
    for balance in (0.0, 0.5, 1.0):
        weights = shares * torch.tensor([1.0, 16**balance])  # background is found
        expected = float(weights[1] / weights.sum()) * -math.log(1e-6)
        assert float(cross_entropy_loss(missed, labels, balance)) == pytest.approx(expected, rel=1e-3)
    found, labels = told(classes, (0.99, 0.8))
    assert float(cross_entropy_loss(found, labels, 1.0)) == pytest.approx(float(cross_entropy_loss(found, labels)))


def test_cross_entropy_is_not_disturbed_by_classes_that_are_absent() -> None:
    classes = torch.zeros(64, dtype=torch.long)
    classes[:4] = 1
    logits, labels = told(classes, (0.7, 0.2))
    more = torch.cat([logits, torch.full_like(logits[:, :1], -30.0)], dim=1).requires_grad_()
    loss = cross_entropy_loss(more.log_softmax(1), torch.cat([labels, torch.zeros_like(labels[:, :1])], dim=1), 0.5)
    assert loss.item() == pytest.approx(float(cross_entropy_loss(logits, labels, 0.5)))
    assert torch.isfinite(torch.autograd.grad(loss, more)[0]).all()


def test_inverse_loss_is_zero_only_for_the_inverse() -> None:
    flow = torch.zeros(1, 3, *SHAPE)
    flow[:, 0, 4:8] = 0.5  # of one sign and constant where it matters
    inverse = torch.zeros_like(flow)
    inverse[:, 0, 4:7], inverse[:, 0, 7] = -0.5, -0.25  # the last layer looks half out of the moving part
    assert float(inverse_loss(flow, inverse)) == pytest.approx(0, abs=1e-9)
    assert float(inverse_loss(flow, -inverse)) == pytest.approx(float((2 * inverse).square().mean()), rel=1e-4)


def test_mix_loss_asks_for_the_mixture_of_the_outputs() -> None:
    first, second = noise(1, 3, *SHAPE), noise(1, 3, *SHAPE, seed=1)
    gamma = torch.tensor(0.3)
    mixed = 0.3 * first + 0.7 * second
    assert float(mix_loss(mixed, first, second, gamma)) == pytest.approx(0, abs=1e-9)
    assert float(mix_loss(mixed + 0.5, first, second, gamma)) == pytest.approx(0.25, rel=1e-5)
