"""Borders that annotators put between two slices: found in the atlases' label maps, kept in segmentations.

Where one part of an organ ends and the next begins, as the head and the body of the hippocampus, protocols often name a
slice. A network draws such a border tilted and ragged; here each slice goes as a whole to the likelier of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import SimpleITK as sitk

from .grid import WorkingGrid

MOST_MIXED = 0.02  # share of the smaller structure's voxels in slices with both, mean of the atlases
LEAST_CONTACT = 0.5  # share of their section at the border over which the structures meet
LEAST_PROBABILITY = 1e-6  # one voxel alone does not decide for its slice


@dataclass(frozen=True)
class SliceBorder:
    """Two structures that lie over each other and share no slice.

    Attributes:
        first: class index.
        second: class index, larger.
        axis: of volumes (D, H, W), across the slices.
    """

    first: int
    second: int
    axis: int


def slice_borders(atlas_labels: np.ndarray) -> list[SliceBorder]:
    """Borders that follow slices exactly in most atlases, and nearly in the others.

    Args:
        atlas_labels: (A, D, H, W) uint8 class indices.
    """
    classes = np.flatnonzero(np.bincount(atlas_labels.ravel()))
    pairs = list(combinations(classes[classes > 0].tolist(), 2))
    return [border for axis in range(3) for border in _borders_across(atlas_labels, pairs, axis)] if pairs else []


def _borders_across(atlas_labels: np.ndarray, pairs: Sequence[tuple[int, int]], axis: int) -> list[SliceBorder]:
    first, second = np.array(pairs).T
    mixed, touching = [], []
    for labels in atlas_labels:
        voxels, contacts = _counts(np.moveaxis(labels, axis, 0), int(second.max()) + 1)
        one, other = voxels[:, first], voxels[:, second]
        smaller = np.minimum(one.sum(0), other.sum(0))
        both = np.where(smaller > 0, 1, np.nan)  # an atlas that lacks one of them tells nothing
        mixed.append(both * np.minimum(one, other).sum(0) / np.maximum(smaller, 1))
        contact = contacts[:, first, second] + contacts[:, second, first]
        section = np.minimum((one + other)[:-1], (one + other)[1:]) * (contact > 0)
        touching.append(both * contact.sum(0) / np.maximum(section.max(0), 1))
    known = ~np.isnan(mixed).all(0)
    mixed, touching = np.array(mixed)[:, known], np.array(touching)[:, known]
    exact = (np.nanmedian(mixed, 0) == 0) & (np.nanmean(mixed, 0) <= MOST_MIXED)
    found = np.flatnonzero(known)[exact & (np.nanmin(touching, 0) >= LEAST_CONTACT)]
    return [SliceBorder(*pairs[index], axis) for index in found]


def _counts(slices: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of each class in each slice (S, K), and voxels of a class under those of another (S - 1, K, K)."""
    number = np.arange(len(slices))[:, None, None]
    voxels = np.bincount((number * count + slices).ravel(), minlength=len(slices) * count)
    pairs = (number[:-1] * count + slices[:-1]) * count + slices[1:]
    contacts = np.bincount(pairs.ravel(), minlength=(len(slices) - 1) * count**2)
    return voxels.reshape(-1, count), contacts.reshape(-1, count, count)


def along_slices(
    classes: sitk.Image,
    borders: Sequence[SliceBorder],
    found: np.ndarray,
    grid: WorkingGrid,
    placement: sitk.Transform,
) -> sitk.Image:
    """Gives the voxels of two structures with such a border to the likelier one, slice by slice.

    Args:
        classes: uint8 class indices on the scan's grid.
        borders: of the model's atlases.
        found: class probabilities (K, D, H, W) on the working grid.
        grid: the working grid; beyond it nothing changes.
        placement: of the scan, see :meth:`brbs.grid.WorkingGrid.place`.

    Returns:
        The label map; the same where there is no such border.
    """
    if not borders:
        return classes
    array, winner = sitk.GetArrayFromImage(classes), found.argmax(0)
    steps = grid.indices(classes, placement)
    y, x = np.ogrid[: array.shape[1], : array.shape[2]]
    for border in borders:
        odds = _log_odds(border, found, winner)
        of_x, of_y, of_z, start = steps[:, 2 - border.axis]
        for z, plane in enumerate(array):
            of_both = (plane == border.first) | (plane == border.second)
            if not of_both.any():
                continue
            position = start + of_z * z + of_y * y + of_x * x
            told = np.interp(position, np.arange(len(odds)), odds, left=0.0, right=0.0)
            plane[of_both & (told > 0)] = border.first
            plane[of_both & (told < 0)] = border.second
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(classes)
    return changed


def _log_odds(border: SliceBorder, found: np.ndarray, winner: np.ndarray) -> np.ndarray:
    """Of the first structure against the second in each slice, as if its voxels told independently."""
    inside = (winner == border.first) | (winner == border.second)
    one, other = (np.log(np.maximum(found[index], LEAST_PROBABILITY)) for index in (border.first, border.second))
    return np.where(inside, one - other, 0).sum(tuple({0, 1, 2} - {border.axis}), dtype=np.float64)
