"""Cubic splines through equally spaced values, as matrices: quick where each value is asked for at several places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=256)
def refinement(count: int, factor: int) -> np.ndarray:
    """The cubic B-spline through values on a line, mirrored at its ends, where each voxel is divided into several.

    Args:
        count: of the values.
        factor: voxels that each becomes.

    Returns:
        (factor count, count) float32; times the values it gives those in the middle of the finer voxels, and the end's
        own value beyond an end.
    """
    places = (np.arange(factor * count) - (factor - 1) / 2) / factor
    return _through(count, places.clip(0, count - 1))


@lru_cache(maxsize=64)
def resizing(count: int, size: int, device: torch.device) -> Tensor:
    """The same spline at other equally spaced places, the first and the last of which stay where they are.

    Args:
        count: of the values.
        size: of the places.
        device: where it is kept, so that training steps need not wait for it.

    Returns:
        (size, count) float32.
    """
    return torch.from_numpy(_through(count, np.linspace(0, count - 1, size))).to(device)


def _through(count: int, places: np.ndarray) -> np.ndarray:
    """(places, count) float32: how much each value counts at places in 0..count - 1."""
    if count == 1:
        return np.ones((len(places), 1), np.float32)
    nodes = _mirrored(np.arange(count), count)
    return np.linalg.solve(nodes.T, _mirrored(places, count).T).T.astype(np.float32)


def _mirrored(places: np.ndarray, count: int) -> np.ndarray:
    """(places, count): how much each coefficient counts at each place."""
    found = np.zeros((len(places), count))
    for node in range(-1, count + 1):
        index = abs(node) if node < count else 2 * (count - 1) - node
        found[:, index] += _basis(np.abs(places - node))
    return found


def _basis(distance: np.ndarray) -> np.ndarray:
    """The cubic B-spline, so many steps away from its middle."""
    near, far = 2 / 3 - distance**2 + distance**3 / 2, (2 - np.minimum(distance, 2)) ** 3 / 6
    return np.where(distance < 1, near, far)


def refined(values: np.ndarray, part: Sequence[slice], factors: Sequence[int]) -> np.ndarray:
    """A part of a volume in finer voxels, by splines through all of it.

    Args:
        values: float32 (z, y, x).
        part: of it (z, y, x).
        factors: voxels that each becomes, along each axis.

    Returns:
        float32 (z, y, x).
    """
    for axis, (along, factor) in enumerate(zip(part, factors)):
        rows = refinement(values.shape[axis], factor)[along.start * factor : along.stop * factor]
        values = np.moveaxis(np.tensordot(rows, values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values)


def resized(volume: Tensor, shape: Sequence[int]) -> Tensor:
    """A volume in another number of voxels, whose corners stay at the corners.

    Args:
        volume: float32 (N, C, D, H, W).
        shape: (D, H, W) to come.

    Returns:
        float32 (N, C, *shape).
    """
    for axis, size in enumerate(shape, start=2):
        if volume.shape[axis] != size:
            rows = resizing(volume.shape[axis], size, volume.device)
            volume = torch.tensordot(rows, volume, ([1], [axis])).movedim(0, axis)
    return volume
