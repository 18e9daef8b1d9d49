"""Connected pieces of structures: which structures are one piece in the atlases, and small pieces beside them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import SimpleITK as sitk

from .boxes import Box, class_boxes

#: Which connected pieces of structures stay: small ones do not where the structure is one piece in every atlas, or only
#: the largest of each structure does, or all do.
COMPONENTS = ("atlases", "largest", "all")
WHOLE = 0.95  # share of a structure's voxels that its largest piece holds at least where it counts as one piece
KEPT = 0.25  # of the largest piece's voxels: smaller pieces of a structure that should be one are left out


def whole_classes(atlas_labels: np.ndarray) -> set[int]:
    """Class indices of the structures that are one piece in every atlas that has them.

    Args:
        atlas_labels: (A, D, H, W) uint8 class indices.
    """
    found, broken = set(), set()
    for labels in map(sitk.GetImageFromArray, atlas_labels):
        for index, box in class_boxes(labels).items():
            sizes = _sizes(_pieces(labels, index, box))
            found.add(index)
            if sizes[0] < WHOLE * sizes.sum():
                broken.add(index)
    return found - broken


def without_small_pieces(classes: sitk.Image, indices: Collection[int], kept: float = KEPT) -> tuple[sitk.Image, int]:
    """Sets small pieces (connected by faces, edges or corners) of structures to background.

    Args:
        classes: uint8 class indices.
        indices: the structures looked at.
        kept: share of its structure's largest piece that another piece has to have to stay; infinite: none does.

    Returns:
        The label map, and how many pieces were left out.
    """
    array, count = None, 0
    for index, box in class_boxes(classes).items():
        if index not in indices:
            continue
        pieces = _pieces(classes, index, box)
        sizes = _sizes(pieces)
        stay = 1 + int((sizes[1:] >= kept * sizes[0]).sum())
        if stay == len(sizes):
            continue
        array = sitk.GetArrayFromImage(classes) if array is None else array
        (x, y, z), (width, height, depth) = box
        part = array[z : z + depth, y : y + height, x : x + width]
        part[sitk.GetArrayViewFromImage(pieces) > stay] = 0
        count += len(sizes) - stay
    if array is None:
        return classes, 0
    cleaned = sitk.GetImageFromArray(array)
    cleaned.CopyInformation(classes)
    return cleaned, count


def _pieces(classes: sitk.Image, index: int, box: Box) -> sitk.Image:
    """The pieces of a class within its box: 1 the largest, 2 the next, 0 what is none."""
    start, size = box
    return sitk.RelabelComponent(sitk.ConnectedComponent(sitk.RegionOfInterest(classes, size, start) == index, True))


def _sizes(pieces: sitk.Image) -> np.ndarray:
    """Voxels of each piece, the largest first."""
    return np.bincount(sitk.GetArrayViewFromImage(pieces).ravel())[1:]
