"""Losses of the method (paper sections III.B to III.D), each the number that the original release computes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .warp import inverse

LNCC_WINDOW = 9
FOUND = 0.5  # soft Dice from which on a class is no longer favoured


class _BoxSum(torch.autograd.Function):
    """Sum over a cube around each voxel, zero outside; its own adjoint, so backward is the same sum."""

    @staticmethod
    def forward(ctx, x: Tensor, window: int) -> Tensor:
        ctx.window = window
        return _box_sum(x, window)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _box_sum(gradient, ctx.window), None


def _box_sum(x: Tensor, window: int) -> Tensor:
    # Doubling: sums over 2, 4, 8 neighbours, then the last one, so 4 additions an axis instead of 8, 12 instead of 728.
    for axis in (-3, -2, -1):
        size = x.shape[axis]
        margins = [0, 0] * (-axis - 1) + [window // 2, window // 2]
        padded = partial = F.pad(x, margins)
        width = 1
        while 2 * width < window:
            length = partial.shape[axis] - width
            partial = partial.narrow(axis, 0, length) + partial.narrow(axis, width, length)
            width *= 2
        x = partial.narrow(axis, 0, size) + padded.narrow(axis, window - 1, size)
    return x


def box_sum(x: Tensor, window: int = LNCC_WINDOW) -> Tensor:
    """Sum over a window^3 cube around each voxel of the last three axes, zeros outside.

    Args:
        x: (..., D, H, W).
        window: edge in voxels, one more than a power of two.

    Raises:
        ValueError: for another window.
    """
    if window < 3 or (window - 1) & (window - 2):
        raise ValueError(f"window must be a power of two plus one (3, 5, 9, ...); got {window}")
    return _BoxSum.apply(x, window)


def lncc(a: Tensor, b: Tensor) -> Tensor:
    """Squared local normalised cross correlation, mean over voxels: 1 for images alike up to contrast, 0 for strangers.

    Zero-padded sums with a constant window size and 1e-5 added to the product of the variance sums, as in the
    release, by separable sums instead of dense convolutions.

    Args:
        a, b: (N, 1, D, H, W).
    """
    a, b = a.float(), b.float()
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = box_sum(torch.stack([a, b, a * a, b * b, a * b]))
    size = LNCC_WINDOW**3
    cross = sum_ab - sum_a * sum_b / size
    # Rounding makes variances of flat areas negative, and two of them could cancel the 1e-5.
    variance_a = (sum_aa - sum_a * sum_a / size).clamp(min=0)
    variance_b = (sum_bb - sum_b * sum_b / size).clamp(min=0)
    return (cross * cross / (variance_a * variance_b + 1e-5)).mean()


def similarity_loss(warped: Tensor, fixed: Tensor) -> Tensor:
    """1 - LNCC."""
    return 1 - lncc(warped, fixed)


def smoothness_loss(flow: Tensor) -> Tensor:
    """Mean squared forward difference of a displacement field (N, 3, D, H, W), averaged over the three axes."""
    return sum(flow.diff(dim=axis).square().mean() for axis in (2, 3, 4)) / 3


def dice_loss(a: Tensor, b: Tensor) -> Tensor:
    """Soft Dice loss over all channels, background included: 1 - mean (2 sum ab + 1) / (sum a^2 + sum b^2 + 1).

    Args:
        a, b: class probabilities or one-hot label maps (N, K, D, H, W) in [0, 1].
    """
    a, b = a.float().flatten(2), b.float().flatten(2)
    overlap = 2 * (a * b).sum(-1) + 1
    return 1 - (overlap / (a.square().sum(-1) + b.square().sum(-1) + 1)).mean()


def cross_entropy_loss(log_probabilities: Tensor, target: Tensor, class_balance: float = 0.0) -> Tensor:
    """Mean voxelwise cross entropy of logarithmic class probabilities (N, K, D, H, W) against class probabilities.

    Where there are many classes, the small ones count for next to nothing, and neither this loss nor Dice's brings one
    back that the network has given up: its probabilities are near 0, and so are the gradients. Therefore a class counts
    for more as long as it is hardly found: by the inverse of its share of the voxels, to the power of ``class_balance``
    where it is not found at all, and of less and less the better it is found, down to 0 at a soft Dice of 0.5.

    Args:
        log_probabilities, target: of the same shape, the former from ``log_softmax``.
        class_balance: the power, 0..1; 0: all voxels count alike.
    """
    entropy = -target * log_probabilities
    if not class_balance:
        return entropy.sum(1).mean()
    voxels = target.sum((0, 2, 3, 4))
    powers = class_balance * (1 - _soft_dice(log_probabilities.detach().exp(), target) / FOUND).clamp(min=0)
    weights = (voxels.sum() / voxels.clamp(min=1)) ** powers
    return (weights * entropy.sum((0, 2, 3, 4))).sum() / (weights * voxels).sum()


def _soft_dice(a: Tensor, b: Tensor) -> Tensor:
    """Of each class (K,) over the whole batch (N, K, D, H, W)."""
    sizes = a.square().sum((0, 2, 3, 4)) + b.square().sum((0, 2, 3, 4))
    return 2 * (a * b).sum((0, 2, 3, 4)) / sizes.clamp(min=1e-6)


def inverse_loss(flow: Tensor, backward_flow: Tensor) -> Tensor:
    """Mean squared difference between the approximate inverse of ``flow`` and ``backward_flow``, in voxels squared."""
    return (inverse(flow) - backward_flow).square().mean()


def mix_loss(mixed_logits: Tensor, logits_1: Tensor, logits_2: Tensor, gamma: Tensor) -> Tensor:
    """MMR: the output on a mixture should be the mixture of the outputs (mean squared difference of logits)."""
    return (mixed_logits.float() - torch.lerp(logits_2.float(), logits_1.float(), gamma)).square().mean()
