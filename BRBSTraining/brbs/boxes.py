"""Boxes of voxels around the structures of a label map."""

from __future__ import annotations

from collections.abc import Iterable

import SimpleITK as sitk

Box = tuple[tuple[int, ...], tuple[int, ...]]  # first voxel and size, (x, y, z)


def class_boxes(classes: sitk.Image) -> dict[int, Box]:
    """The box around each class that occurs, but the background."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOff()
    shapes.Execute(classes)
    return {index: (box[:3], box[3:]) for index in shapes.GetLabels() for box in [shapes.GetBoundingBox(index)]}


def box_around(boxes: Iterable[Box]) -> Box:
    """The box around others, at least one."""
    ends = [(start, [first + count for first, count in zip(start, size)]) for start, size in boxes]
    low = tuple(map(min, zip(*(start for start, _ in ends))))
    high = map(max, zip(*(stop for _, stop in ends)))
    return low, tuple(stop - start for start, stop in zip(low, high))
