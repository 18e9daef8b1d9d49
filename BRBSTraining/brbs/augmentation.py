"""Random rotation, scale, bending and contrast of training scans."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .warp import identity_grid

ROTATION_DEGREES = 20.0  # each axis, as published
SLAB_TILT = 0.6  # of a slab's thickness, by which one of its edges may rise and the other sink
SCALE_RANGE = (0.75, 1.25)  # as published
BENDING_VOXELS = 3.0  # largest standard deviation of the coarse displacement, in voxels of the finest axis
BENDING_CELL = 10  # voxels between two coarse displacements
MOST_BENDING = 0.4  # of that distance, so that short axes do not fold


def _uniform(low: float, high: float, generator: torch.Generator, count: int = 1) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def random_strength(generator: torch.Generator) -> float:
    """Draws how much of its range a change may use, 0..1, so that most training scans look much like real ones.

    Scans of a study lie and look alike; a network that always sees them fully turned and recoloured takes up to twice
    as many steps to the same Dice.
    """
    return float(torch.rand(1, generator=generator))


def slab_turns(shape: Sequence[int], spacing: Sequence[float]) -> tuple[float, ...]:
    """Degrees up to which a volume may be turned about its axes (W, H, D): less than published where it is a slab.

    A few thick slices that are turned by 20 degrees about an axis within them lie half outside of the volume.

    Args:
        shape: (D, H, W) of the volume.
        spacing: voxel edge in mm, same order.
    """
    edges = [size * edge for size, edge in zip(shape, spacing)][::-1]
    others = [[edge for at, edge in enumerate(edges) if at != axis] for axis in range(3)]
    tilts = [math.degrees(math.atan(SLAB_TILT * min(pair) / max(pair))) for pair in others]
    return tuple(min(ROTATION_DEGREES, tilt) for tilt in tilts)


def random_affine(
    shape: Sequence[int],
    spacing: Sequence[float],
    generator: torch.Generator,
    strength: float = 1.0,
    turns: Sequence[float] = (ROTATION_DEGREES,) * 3,
) -> Tensor:
    """Draws a rotation about each axis and a scale in 0.75..1.25, about the centre of the volume.

    Args:
        shape: (D, H, W) of the volume.
        spacing: voxel edge in mm, (D, H, W) order, so that anisotropic voxels rotate rigidly.
        generator: CPU generator of the draws.
        strength: part of these ranges that is used, 0 (the identity) to 1 (as published).
        turns: largest rotation about each axis (W, H, D) in degrees; as published, 20.

    Returns:
        3x3 matrix on ``grid_sample`` coordinates (W, H, D).
    """
    angles = strength * torch.deg2rad(_uniform(-1, 1, generator, 3) * torch.tensor(turns))
    matrix = torch.eye(3) / (1 + strength * (_uniform(*SCALE_RANGE, generator) - 1))
    for axis, angle in enumerate(angles):
        i, j = [other for other in range(3) if other != axis]
        rotation = torch.eye(3)
        rotation[i, i] = rotation[j, j] = torch.cos(angle)
        rotation[i, j], rotation[j, i] = -torch.sin(angle), torch.sin(angle)
        matrix = matrix @ rotation
    half = torch.tensor([(n - 1) / 2 * mm for n, mm in zip(shape, spacing)]).flip(0).clamp(min=1e-6)
    return matrix * half / half[:, None]


def affine_grid(shape: Sequence[int], matrix: Tensor, device: torch.device) -> Tensor:
    """Sampling grid (1, D, H, W, 3) of a 3x3 matrix from :func:`random_affine`."""
    return identity_grid(tuple(shape), device) @ matrix.T.to(device)


def random_bending(
    shape: Sequence[int], spacing: Sequence[float], generator: torch.Generator, device: torch.device
) -> Tensor:
    """Draws a smooth random offset (1, D, H, W, 3) in ``grid_sample`` coordinates, to be added to a grid.

    Args:
        shape: (D, H, W) of the volume.
        spacing: mm, same order; it bends by as many mm along each axis, voxels being those of the finest one, and
            less along axes of few voxels.
        generator: CPU generator of the draws.
        device: of the offset.
    """
    coarse = [max(3, round(size / BENDING_CELL) + 1) for size in shape]
    strength = BENDING_VOXELS * torch.rand(1, generator=generator)
    voxels = strength * torch.randn(1, 3, *coarse, generator=generator)
    sizes = list(zip(shape, coarse, spacing))[::-1]
    most = [MOST_BENDING * (size - 1) / (nodes - 1) / BENDING_VOXELS for size, nodes, _ in sizes]
    along = [min(min(spacing) / edge, limit) for (*_, edge), limit in zip(sizes, most)]  # voxels for one of the finest
    units = [share * 2 / max(size - 1, 1) for share, (size, *_) in zip(along, sizes)]
    unit = voxels * torch.tensor(units).view(1, 3, 1, 1, 1)
    smooth = F.interpolate(unit.to(device), size=tuple(shape), mode="trilinear", align_corners=True)
    return smooth.permute(0, 2, 3, 4, 1)


def random_contrast(image: Tensor, generator: torch.Generator) -> Tensor:
    """Changes what scanners change: gamma, gain, offset, bias field by a random strength; sharpness and noise.

    Args:
        image: (N, 1, D, H, W) in [0, 1]; each volume is drawn for itself.
        generator: CPU generator of the draws.

    Returns:
        The same shape, in [0, 1].
    """
    return torch.cat([_contrast_of_one(volume, generator) for volume in image.split(1)])


def _contrast_of_one(image: Tensor, generator: torch.Generator) -> Tensor:
    strength = random_strength(generator)
    gamma, gain, offset, blur_chance, blur, noise_chance, noise = torch.rand(7, generator=generator).tolist()
    bias = strength * 0.2 * torch.randn(1, 1, 3, 3, 3, generator=generator).to(image.device)
    image = image.clamp(min=0) ** (2.0 ** (strength * (1.6 * gamma - 0.8)))
    image = image * (1 + strength * (0.5 * gain - 0.25)) + strength * (0.2 * offset - 0.1)
    image = image * torch.exp(F.interpolate(bias, size=image.shape[2:], mode="trilinear", align_corners=True))
    if blur_chance < 0.2:
        image = torch.lerp(image, F.avg_pool3d(image, 3, stride=1, padding=1, count_include_pad=False), blur)
    if noise_chance < 0.5:
        image = image + 0.06 * noise * _normal_numbers(image.shape, generator, image.device)
    return image.clamp(0, 1)


def _normal_numbers(shape: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal draws; a GPU makes its own from a seed, as it would wait for those of the CPU."""
    if device.type == "cpu":
        return torch.randn(shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device)
