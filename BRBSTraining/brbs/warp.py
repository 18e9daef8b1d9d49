"""The spatial transformer and what is computed from displacement fields."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


@lru_cache(maxsize=8)
def identity_grid(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Voxel coordinates (1, D, H, W, 3) in ``grid_sample``'s terms: last axis (W, H, D), each in [-1, 1]."""
    axes = [torch.linspace(-1, 1, size, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1).unsqueeze(0)


@lru_cache(maxsize=8)
def _voxel_to_unit(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    return torch.tensor([2 / max(size - 1, 1) for size in reversed(shape)], device=device)


def sampling_grid(flow: Tensor) -> Tensor:
    """Turns a displacement field (N, 3, D, H, W) in voxels into a ``grid_sample`` grid (N, D, H, W, 3)."""
    shape = tuple(flow.shape[2:])
    unit = flow.float().flip(1).permute(0, 2, 3, 4, 1) * _voxel_to_unit(shape, flow.device)
    return identity_grid(shape, flow.device) + unit


def sample(volume: Tensor, grid: Tensor) -> Tensor:
    """Trilinear sampling of (N, C, D, H, W) at a grid from :func:`sampling_grid`; outside lies zero."""
    return F.grid_sample(volume.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def warp(volume: Tensor, flow: Tensor) -> Tensor:
    """Pulls a volume back along a displacement field: warped(p) = volume(p + flow(p)), trilinear.

    Args:
        volume: (N, C, D, H, W), image, one-hot label map or displacement field.
        flow: (N, 3, D, H, W) in voxels, channels in (D, H, W) order.

    Returns:
        (N, C, D, H, W), float32. A zero flow gives the volume back.
    """
    return sample(volume, sampling_grid(flow))


def follow(positions: Tensor, flow: Tensor) -> Tensor:
    """Positions in a source volume after a further pull-back: result(p) = positions(p + flow(p)).

    Sampling the source once at the result is sharper than warping it twice.

    Args:
        positions: (N, 3, D, H, W) in ``grid_sample`` coordinates (W, H, D), see :func:`identity_grid`.
        flow: (N, 3, D, H, W) in voxels.
    """
    grid = sampling_grid(flow)
    return F.grid_sample(positions, grid, mode="bilinear", padding_mode="border", align_corners=True)


def sample_at(source: Tensor, positions: Tensor) -> Tensor:
    """Trilinear sampling of (N, C, D, H, W) at positions (N, 3, D, H, W) from :func:`follow`; outside lies zero."""
    return sample(source, positions.permute(0, 2, 3, 4, 1))


def onehot_at(labels: Tensor, positions: Tensor, classes: int) -> Tensor:
    """:func:`sample_at` of a one-hot label map, which is never made: eight weights a voxel, however many classes.

    Args:
        labels: class indices (N, D, H, W) uint8.
        positions: (N, 3, *shape) from :func:`follow`; outside lies zero, in all classes.
        classes: K.

    Returns:
        (N, K, *shape) float32 in [0, 1].
    """
    found = torch.zeros(len(labels), classes, positions[0, 0].numel(), device=positions.device)
    indices, flat = torch.zeros((), dtype=torch.long, device=positions.device), labels.flatten(1)
    corners = [(indices, torch.ones((), device=positions.device))]
    for size, along in zip(labels.shape[1:], positions.flatten(2).unbind(1)[::-1]):
        corners = [
            (index * size + neighbour, weight * share)
            for index, weight in corners
            for neighbour, share in _neighbours(along, size)
        ]
    for index, weight in corners:
        found.scatter_add_(1, flat.gather(1, index).long().unsqueeze(1), weight.unsqueeze(1))
    return found.unflatten(2, positions.shape[2:])


def _neighbours(positions: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Both voxels around positions in [-1, 1] along an axis, and their shares; none for those outside."""
    voxels = (positions + 1) * ((size - 1) / 2)
    low = voxels.floor()
    part = voxels - low
    pairs = (low.long(), 1 - part), (low.long() + 1, part)
    return [(index.clamp(0, size - 1), share * ((index >= 0) & (index < size))) for index, share in pairs]


def inverse(flow: Tensor) -> Tensor:
    """The release's approximate inverse of a displacement field: -warp(flow, flow), in voxels."""
    return -warp(flow, flow)


def resize_flow(flow: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Resamples a displacement field to another grid over the same space and rescales its voxels.

    Voxel centres of the corners stay at the corners, as in pooled volumes whose cells are whole.
    """
    if tuple(flow.shape[2:]) == tuple(shape):
        return flow
    factors = [new / old for new, old in zip(shape, flow.shape[2:])]
    scale = torch.tensor(factors, device=flow.device, dtype=flow.dtype).view(1, 3, 1, 1, 1)
    return F.interpolate(flow, size=tuple(shape), mode="trilinear", align_corners=False) * scale


def jacobian_determinant(flow: Tensor) -> Tensor:
    """Local volume change of p -> p + flow(p).

    Args:
        flow: (N, 3, D, H, W) in voxels.

    Returns:
        (N, 1, D, H, W); 1 where nothing is stretched, 0 or less where space folds. One-sided differences at the border.
    """
    rows = [torch.gradient(flow[:, channel], dim=(1, 2, 3)) for channel in range(3)]
    jacobian = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    jacobian = jacobian + torch.eye(3, device=flow.device, dtype=flow.dtype)
    return torch.linalg.det(jacobian).unsqueeze(1)
