"""Whether structures go on beyond the part of a scan that a model with the region "labels" works on."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .alignment import box_corners, placed_bounds
from .grid import WorkingGrid

ENOUGH = 0.01  # of a structure's voxels on a face; fewer may be stray ones


def classes_at_edge(found: np.ndarray, grid: WorkingGrid, image: sitk.Image, placement: sitk.Transform) -> set[int]:
    """Structures of which more than stray voxels are found at faces of the working grid behind which the scan goes on.

    Args:
        found: class probabilities on the working grid, (K, D, H, W), background first.
        grid: the working grid.
        image: the scan.
        placement: of the scan.

    Returns:
        Class indices; none where the networks work on whole scans.
    """
    if grid.region != "labels":
        return set()
    low, high = placed_bounds(box_corners(image), placement)
    spacing = np.array(grid.spacing)
    last = np.array(grid.origin) + (np.array(grid.size) - 1) * spacing  # centre of the last voxel
    goes_on = zip(low < grid.origin - spacing, high > last + spacing)  # by half a voxel at least; x, y, z
    classes = found.argmax(0)
    faces = [
        classes.take(end, axis) for axis, ends in zip((2, 1, 0), goes_on) for end, more in zip((0, -1), ends) if more
    ]
    sizes = np.bincount(classes.ravel(), minlength=len(found))
    return {
        index
        for face in faces
        for index, count in zip(*np.unique(face, return_counts=True))
        if count > ENOUGH * sizes[index]
    } - {0}
