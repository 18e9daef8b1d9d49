"""What S's running average, the teacher, says of an unlabeled scan: from another size than S sees.

A network says a little else of a scan in each size, and the mean is nearer to the truth; so S learns it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .splines import resized
from .warp import sample_at

SIZES = (0.8, 0.9, 1.0, 1.1, 1.2)  # in which networks have seen scans, see `brbs.augmentation.SCALE_RANGE`


def opinion(
    teacher: Callable[[Tensor], Tensor], image: Tensor, positions: Tensor, generator: torch.Generator
) -> Tensor:
    """Logits of a scan that the teacher sees in a random one of :data:`SIZES`.

    Where voxels are coarse, linear interpolation of logits would wear small structures down: splines bring them back.

    Args:
        teacher: gives logits (1, K, *shape) of a volume (1, 1, *shape) of any shape.
        image: the scan as it is kept, (1, 1, D, H, W).
        positions: where they are asked for, (1, 3, *shape) in ``grid_sample`` coordinates.
        generator: CPU generator of the draw.

    Returns:
        (1, K, *shape) float32.
    """
    size = SIZES[int(torch.randint(len(SIZES), (1,), generator=generator))]
    shape = tuple(positions.shape[2:])
    seen = sample_at(image, _spread(positions, [max(1, round(edge * size)) for edge in shape]))
    return resized(teacher(seen).float(), shape)


def _spread(positions: Tensor, shape: Sequence[int]) -> Tensor:
    """The same stretch of space in another number of voxels, (1, 3, *shape)."""
    if tuple(positions.shape[2:]) == tuple(shape):
        return positions
    return F.interpolate(positions, size=tuple(shape), mode="trilinear", align_corners=True)
