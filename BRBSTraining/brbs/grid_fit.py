"""The size and spacing of a grid that covers an extent with no more voxels than there may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .anisotropy import default_unet, grid_multiples, relative_work

SMALLEST_GRID = 8**3
FEWEST_VOXELS = 4  # of an axis, however few slices there are


def fit_grid(
    extent: np.ndarray, spacing: Sequence[float], voxel_budget: int, channels: Sequence[int] | None = None
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Size and spacing that cover `extent` (mm) within the budget.

    No axis is left finer than a floor, and the floor rises until the grid fits: the finest axes give way first, the
    coarsest last, and all together once they are equal. Sizes can be halved as often as the networks will.

    Args:
        extent: mm (x, y, z).
        spacing: finest wanted, mm (x, y, z).
        voxel_budget: most voxels, as :func:`voxels_by_work` counts them.
        channels: the U-Nets' widths where they are set.

    Raises:
        ValueError: the budget is below the smallest grid.
    """
    if voxel_budget < SMALLEST_GRID:
        raise ValueError(f"a budget of {voxel_budget} voxels is below the smallest grid, {SMALLEST_GRID}")

    def at(floor: float) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
        coarse = np.maximum(spacing, floor)
        multiples = np.array(grid_multiples(coarse))
        voxels = np.maximum(extent / coarse - 0.01, FEWEST_VOXELS)  # a hundredth of a voxel may stick out
        size = tuple((np.ceil(voxels / multiples).astype(int) * multiples).tolist())
        return size, tuple(float(value) for value in coarse)

    low, high = float(np.min(spacing)), float(np.max([*spacing, *extent]))

    def fits(floor: float) -> bool:
        size, coarse = at(floor)
        return voxels_by_work(size, coarse, channels) <= voxel_budget

    if fits(low):
        return at(low)
    while high - low > 1e-4 * low:
        floor = (low + high) / 2
        low, high = (low, floor) if fits(floor) else (floor, high)
    return at(high)


def voxels_by_work(size: Sequence[int], spacing: Sequence[float], channels: Sequence[int] | None = None) -> float:
    """Voxels of a grid of cubes on which the networks of a grid would take as long.

    Of thick slices they are up to twice as many as it has, as default networks keep slices apart for longer, which
    takes up to twice the time and half as much more memory (:func:`brbs.anisotropy.relative_work`).

    Args:
        size: voxels (x, y, z).
        spacing: mm, same order.
        channels: the U-Nets' widths where they are set; those halve all axes at each level.
    """
    work = 1.0 if channels else relative_work(default_unet(size[::-1], spacing[::-1])[1])
    return work * math.prod(size)
