"""A volume seen through overlapping windows, slab by slab: only a window's height of probabilities is ever held."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

OVERLAP = 0.5  # of neighbouring windows, at least
SIGMA = 0.125  # of a window's weights, in window widths
LEAST_WEIGHT = 1e-3
HOME_WEIGHT = 1 / LEAST_WEIGHT  # so that other windows count beside it at its faces alone


def slabs(
    volume: np.ndarray,
    window: Sequence[int],
    classify: Callable[[Tensor, bool], Tensor],
    device: torch.device,
    at_once: int,
    home: tuple[int, ...] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Class probabilities of a volume that is at least as large as a window, blended with Gaussian weights.

    A network knows anatomy where it has seen it in training; moved within the window, it may miss what it finds there.

    Args:
        volume: float32 (D, H, W).
        window: (d, h, w).
        classify: gives (N, K, d, h, w) for windows (N, 1, d, h, w), and is told whether that is the one at home, alone.
        device: where it computes.
        at_once: windows it is given at a time.
        home: first voxel (z, y, x) of the window that shows what training showed; it decides within.

    Yields:
        Index of the first plane, and float32 (K, planes, H, W): all planes once, in order. The array is used again
        for the next planes.
    """
    source = torch.as_tensor(volume, dtype=torch.float32)
    corners = set(itertools.product(*map(window_starts, source.shape, window))) | ({home} if home else set())
    weight = window_weights(window)
    total = torch.zeros(window[0], *source.shape[1:])
    blended: Tensor | None = None
    layers = [(start, list(layer)) for start, layer in itertools.groupby(sorted(corners), lambda corner: corner[0])]
    starts = [start for start, _ in layers]
    found = _seen(source, window, _chunks(sorted(corners), at_once, home), classify, device)
    for (start, layer), following in zip(layers, [*starts[1:], len(source)]):
        for corner, ((_, *plane), probabilities) in zip(layer, found):
            if blended is None:
                blended = torch.zeros(len(probabilities), *total.shape)
            counts = weight * HOME_WEIGHT if corner == home else weight
            blended[(slice(None), slice(None), *plane)].addcmul_(probabilities, counts)
            total[(slice(None), *plane)].add_(counts)
        assert blended is not None
        done = following - start
        yield start, blended[:, :done].div_(total[:done]).numpy()
        for sums in (blended, total[None]):
            sums[:, : window[0] - done] = sums[:, done:].clone()
            sums[:, window[0] - done :] = 0


def window_starts(size: int, width: int) -> list[int]:
    """Where windows of ``width`` voxels begin along an axis, so that each overlaps the next by half or more."""
    stride = max(1, int(width * (1 - OVERLAP)))
    return [*range(0, size - width, stride), size - width]


def window_weights(window: Sequence[int]) -> Tensor:
    """Weight (d, h, w) of each voxel of a window: 1 in the middle, falling to the edges, never 0."""
    weight = torch.ones(())
    for width in window:
        offset = torch.arange(width) - (width - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (offset / (SIGMA * width)) ** 2)
    return weight.clamp(min=LEAST_WEIGHT)


def _chunks(
    corners: list[tuple[int, ...]], at_once: int, home: tuple[int, ...] | None
) -> Iterator[tuple[bool, list[tuple[int, ...]]]]:
    """Corners in their order, at most so many at a time, home alone; each time whether that is it."""
    for at_home, group in itertools.groupby(corners, lambda corner: corner == home):
        alike = list(group)
        for first in range(0, len(alike), at_once):
            yield at_home, alike[first : first + at_once]


def _seen(
    source: Tensor, window: Sequence[int], chunks: Iterable, classify: Callable, device: torch.device
) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
    """Each window's place with what the network says of it, on the CPU; several at a time are faster than one."""
    for at_home, corners in chunks:
        places = [_place(corner, window) for corner in corners]
        seen = torch.stack([source[place] for place in places])[:, None].to(device)
        yield from zip(places, classify(seen, at_home).cpu())


def _place(corner: tuple[int, ...], window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(low, low + width) for low, width in zip(corner, window))
