"""Connected pieces of structures: which structures are one piece in the atlases, and small pieces beside them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

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


def without_small_pieces(
    classes: sitk.Image, indices: Collection[int], kept: float = KEPT, gap: Sequence[int] = (0, 0, 0)
) -> tuple[sitk.Image, int]:
    """Sets small pieces (connected by faces, edges or corners) of structures to background.

    Where the scan ends, it may cut one structure into pieces, as a bent vessel: at a face of the scan at which the
    largest piece ends, other pieces may end as well and stay.

    Args:
        classes: uint8 class indices.
        indices: the structures looked at.
        kept: share of its structure's largest piece that another piece has to have to stay; infinite: none does.
        gap: voxels (x, y, z) around each piece within which another still belongs to it; what was looked at in coarser
            voxels, as atlases are, cannot tell such pieces apart.

    Returns:
        The label map, and how many pieces were left out.
    """
    array, count = None, 0
    for index, box in class_boxes(classes).items():
        if index not in indices:
            continue
        pieces = _pieces(classes, index, box, gap)
        sizes = _sizes(pieces)
        small = [piece for piece in range(2, len(sizes) + 1) if sizes[piece - 1] < kept * sizes[0]]
        small = _not_cut_off(small, pieces, box, classes.GetSize()) if small and math.isfinite(kept) else small
        if not small:
            continue
        array = sitk.GetArrayFromImage(classes) if array is None else array
        (x, y, z), (width, height, depth) = box
        part = array[z : z + depth, y : y + height, x : x + width]
        part[np.isin(sitk.GetArrayViewFromImage(pieces), small)] = 0
        count += len(small)
    if array is None:
        return classes, 0
    cleaned = sitk.GetImageFromArray(array)
    cleaned.CopyInformation(classes)
    return cleaned, count


def _pieces(classes: sitk.Image, index: int, box: Box, gap: Sequence[int] = (0, 0, 0)) -> sitk.Image:
    """The pieces of a class within its box: 1 the largest, 2 the next, 0 what is none."""
    start, size = box
    mask = sitk.RegionOfInterest(classes, size, start) == index
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(mask, True))
    if not any(gap) or len(_sizes(pieces)) == 1:
        return pieces
    # Not GrayscaleDilate: where it computes with several threads, thin boxes come out too small.
    grown = sitk.BinaryDilate(mask, [(count + 1) // 2 for count in gap], sitk.sitkBox)
    return sitk.RelabelComponent(sitk.Mask(sitk.ConnectedComponent(grown, True), mask))


def _not_cut_off(small: Sequence[int], pieces: sitk.Image, box: Box, size: Sequence[int]) -> list[int]:
    """Those of the small pieces that end at no face of the scan at which the largest does.

    Args:
        small: of the pieces.
        pieces: 1 the largest, within the box.
        box: of the structure in the scan.
        size: of the scan (x, y, z).
    """
    boxes = class_boxes(pieces)

    def faces(piece: int) -> set[tuple[int, bool]]:
        start, count = boxes[piece]
        first = [low + own for low, own in zip(box[0], start)]
        low = {(axis, False) for axis in range(3) if first[axis] == 0}
        return low | {(axis, True) for axis in range(3) if first[axis] + count[axis] == size[axis]}

    of_largest = faces(1)
    return [piece for piece in small if not faces(piece) & of_largest] if of_largest else list(small)


def _sizes(pieces: sitk.Image) -> np.ndarray:
    """Voxels of each piece, the largest first."""
    return np.bincount(sitk.GetArrayViewFromImage(pieces).ravel())[1:]
