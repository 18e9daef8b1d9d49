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

from .boxes import box_around, class_boxes
from .grid import WorkingGrid
from .restoration import restored

MOST_MIXED = 0.02  # share of the smaller structure's voxels in slices with both, mean of the atlases
LEAST_CONTACT = 0.5  # share of their section at the border over which the structures lie over each other
LEAST_PROBABILITY = 1e-6  # one voxel alone does not decide for its slice
FEWEST_ATLASES = 2  # that have both structures; in one, slices may be so by chance
SURE = 2.0  # log odds from which on a voxel stays what it is, as where a scan lies turned and slices cross the border


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
    count, borders = int(atlas_labels.max(initial=0)) + 1, []
    for axis in range(3):
        slices = np.moveaxis(atlas_labels, axis + 1, 1)
        voxels = np.array([[np.bincount(each.ravel(), minlength=count) for each in atlas] for atlas in slices])
        for first, second in combinations(range(1, count), 2):
            if _part_by_slices(slices, voxels, first, second):
                borders.append(SliceBorder(first, second, axis))
    return borders


def _part_by_slices(slices: np.ndarray, voxels: np.ndarray, first: int, second: int) -> bool:
    """Whether two structures do; atlases that lack one of them tell nothing.

    Args:
        slices: (A, S, ., .) class indices.
        voxels: of each class in each slice, (A, S, K).
        first, second: class indices.
    """
    one, other = voxels[..., first], voxels[..., second]
    smaller = np.minimum(one.sum(1), other.sum(1))
    known = np.flatnonzero(smaller)
    mixed = np.minimum(one, other).sum(1)[known] / smaller[known]
    if len(known) < FEWEST_ATLASES or np.median(mixed) > 0 or mixed.mean() > MOST_MIXED:
        return False
    return all(_contact(slices[atlas], one[atlas], other[atlas], first, second) >= LEAST_CONTACT for atlas in known)


def _contact(slices: np.ndarray, one: np.ndarray, other: np.ndarray, first: int, second: int) -> float:
    """Share of their section at the border over which two structures of an atlas lie over each other, 0..1.

    Args:
        slices: (S, ., .) class indices.
        one, other: voxels of the structures in each slice, (S,).
        first, second: class indices.
    """
    contact, section = 0, 1
    both = one + other
    for at in np.flatnonzero((one[:-1] * other[1:] > 0) | (other[:-1] * one[1:] > 0)):
        low, high = slices[at], slices[at + 1]
        over = ((low == first) & (high == second)) | ((low == second) & (high == first))
        if over.any():
            contact += np.count_nonzero(over)
            section = max(section, min(both[at], both[at + 1]))
    return contact / section


def along_slices(
    classes: sitk.Image,
    borders: Sequence[SliceBorder],
    found: np.ndarray,
    grid: WorkingGrid,
    placement: sitk.Transform,
) -> sitk.Image:
    """Gives the voxels of two structures with such a border to the likelier one, slice by slice.

    Voxels of which the network is sure (:data:`SURE`) stay.

    Args:
        classes: uint8 class indices on the scan's grid.
        borders: of the model's atlases.
        found: class probabilities (K, D, H, W) on the working grid.
        grid: the working grid; beyond it nothing changes.
        placement: of the scan, see :meth:`brbs.grid.WorkingGrid.place`.

    Returns:
        The label map; the same where there is no such border.
    """
    parted = {index for border in borders for index in (border.first, border.second)}
    boxes = [box for index, box in class_boxes(classes).items() if index in parted] if parted else []
    if not boxes:
        return classes
    start, size = box_around(boxes)
    part = sitk.RegionOfInterest(classes, size, start)
    array, winner = sitk.GetArrayFromImage(part), found.argmax(0)
    steps = grid.indices(part, placement)
    y, x = np.ogrid[: array.shape[1], : array.shape[2]]
    for border in borders:
        of_voxels = _log_odds(border, found)
        inside = (winner == border.first) | (winner == border.second)
        odds = np.where(inside, of_voxels, 0).sum(tuple({0, 1, 2} - {border.axis}), dtype=np.float64)
        unsure = np.abs(sitk.GetArrayFromImage(restored(grid, of_voxels, part, placement))) < SURE
        of_x, of_y, of_z, origin = steps[:, 2 - border.axis]
        for z, plane in enumerate(array):
            of_both = ((plane == border.first) | (plane == border.second)) & unsure[z]
            if not of_both.any():
                continue
            position = origin + of_z * z + of_y * y + of_x * x
            told = np.interp(position, np.arange(len(odds)), odds, left=0.0, right=0.0)
            plane[of_both & (told > 0)] = border.first
            plane[of_both & (told < 0)] = border.second
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(part)
    return sitk.Paste(classes, changed, size, destinationIndex=start)


def _log_odds(border: SliceBorder, found: np.ndarray) -> np.ndarray:
    """Of the first structure against the second in each voxel, (D, H, W)."""
    one, other = (np.log(np.maximum(found[index], LEAST_PROBABILITY)) for index in (border.first, border.second))
    return one - other
