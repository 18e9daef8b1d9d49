"""Working grids whose voxels are longer along one axis: it is coarsened later than the others.

As in nnU-Net (Isensee et al., Nature Methods 18, 2021), networks halve the finer axes first, until cells are about as
long as wide: a stack of thick slices keeps its few planes and is still seen as a whole within each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

Strides = tuple[tuple[int, int, int], ...]

FEWEST_LEVELS, MOST_LEVELS = 2, 4
FEWEST_VOXELS = 4  # that a further level leaves of an axis
FIRST_WIDTH = 16
THICK, FEW_SLICES = 2.5, 32  # ratio of spacings, and slices of which a stack has fewer
GRID_LEVELS = 3  # a working grid can be halved so often without padding


def axis_scales(scale: int, spacing: Sequence[float]) -> tuple[int, ...]:
    """How many voxels of each axis make one of a volume ``scale`` times coarser.

    Args:
        scale: 1 or more, of the finest axis.
        spacing: mm, one for each axis.

    Returns:
        1 for an axis that is ``scale`` times coarser than the finest one already, up to ``scale``.
    """
    finest = min(spacing)
    return tuple(max(1, math.ceil(scale * finest / edge - 0.01)) for edge in spacing)


def halvings(spacing: Sequence[float]) -> Iterator[tuple[int, ...]]:
    """2 or 1 for each axis, level by level without end: whether its voxels are joined in pairs."""
    while True:
        step = axis_scales(2, spacing)
        yield step
        spacing = [edge * factor for edge, factor in zip(spacing, step)]


def grid_multiples(spacing: Sequence[float]) -> tuple[int, ...]:
    """What the size of a working grid is a multiple of along each axis."""
    return tuple(map(math.prod, zip(*(step for step, _ in zip(halvings(spacing), range(GRID_LEVELS))))))


def default_unet(shape: Sequence[int], spacing: Sequence[float]) -> tuple[tuple[int, ...], Strides]:
    """The U-Net for a grid: 16 channels, doubled at each of 2 to 4 levels down.

    From the third level on no axis is halved to less than 4 voxels; where fewer than two axes can be, levels end.

    Args:
        shape: voxels (D, H, W).
        spacing: mm, same order.

    Returns:
        Widths of the blocks in the order they are passed, and the strides of the levels down.
    """
    strides: list[tuple[int, int, int]] = []
    steps = halvings(spacing)
    while len(strides) < MOST_LEVELS:
        step = next(steps)
        if len(strides) >= FEWEST_LEVELS:
            step = tuple(2 if factor == 2 and size >= 2 * FEWEST_VOXELS else 1 for factor, size in zip(step, shape))
            if step.count(2) < 2:
                break
        strides.append(step)
        shape = [size // factor for size, factor in zip(shape, step)]
    down = [FIRST_WIDTH * 2**level for level in range(len(strides) + 1)]
    return tuple(down + down[-2::-1]), tuple(strides)


def is_thin_stack(size: Sequence[int], spacing: Sequence[float]) -> bool:
    """Whether a volume is a stack of few thick slices, as of a heart's short axis or a prostate.

    Such scans are planned on the organ, and an affine registration finds too little along them to go by.

    Args:
        size: voxels along each axis.
        spacing: mm, same order.
    """
    thickest = max(range(3), key=lambda axis: spacing[axis])
    return spacing[thickest] > THICK * min(spacing) and size[thickest] < FEW_SLICES


def relative_work(strides: Strides) -> float:
    """Work of a U-Net whose widths double at each level, against one that halves all axes at each of them."""

    def work(steps: Strides) -> float:
        total = part = 1.0
        for step in steps:
            part *= 4 / math.prod(step)  # twice the width on both sides of a convolution, and fewer voxels
            total += part
        return total

    return work(strides) / work(((2, 2, 2),) * len(strides))
