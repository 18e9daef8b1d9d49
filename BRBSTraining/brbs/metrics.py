"""How well a segmentation agrees with a reference: overlap, surface distances in mm and volumes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk

from .errors import InputError


def dice(prediction: np.ndarray, reference: np.ndarray, values: Iterable[int]) -> dict[int, float]:
    """Dice overlap of each label value.

    Args:
        prediction: label values, any shape.
        reference: label values, the same shape.
        values: the label values to compare.

    Returns:
        value -> 2 |P and R| / (|P| + |R|), 0 to 1; 1 where both are empty.

    Raises:
        InputError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"Prediction {prediction.shape} and reference {reference.shape} differ in shape.")
    return {int(value): _overlap(prediction == value, reference == value) for value in values}


def compare(prediction: sitk.Image, reference: sitk.Image, labels: Iterable[int]) -> list[dict[str, float]]:
    """Measures of agreement for each structure of two label maps on the same grid.

    Surfaces are the voxels of a structure that share a face with something else; distances run between their
    centres. The 95 % Hausdorff distance is the larger of the two one-sided 95th percentiles, the average symmetric
    surface distance is the mean over the voxels of both surfaces.

    Args:
        prediction: 3-D label map, any integer type.
        reference: 3-D label map with the same size and spacing.
        labels: the label values to compare.

    Returns:
        One dict per label value: value, dice (0 to 1), hd95_mm, assd_mm, volume_mm3, reference_volume_mm3 and
        volume_difference_percent (positive: too large). Empty in both: dice 1, distances and difference 0. Empty in
        one of them: dice 0, distances nan; the difference is nan where the reference is empty.

    Raises:
        InputError: the sizes or spacings differ.
    """
    if prediction.GetSize() != reference.GetSize():
        raise InputError(f"Prediction {prediction.GetSize()} and reference {reference.GetSize()} differ in size.")
    if not np.allclose(prediction.GetSpacing(), reference.GetSpacing(), rtol=1e-3):
        raise InputError(
            f"Prediction {prediction.GetSpacing()} and reference {reference.GetSpacing()} differ in spacing (mm)."
        )
    shapes = _shapes(prediction), _shapes(reference)
    return [_compare_structure(int(value), prediction, reference, shapes) for value in labels]


def _compare_structure(value: int, prediction: sitk.Image, reference: sitk.Image, shapes) -> dict[str, float]:
    voxel = math.prod(reference.GetSpacing())
    counts = [_count(shape, value) for shape in shapes]
    volume, expected = counts[0] * voxel, counts[1] * voxel
    if all(counts):
        box = _common_box(*(shape.GetBoundingBox(value) for shape in shapes))
        predicted, truth = _cut(prediction, box) == value, _cut(reference, box) == value
        overlap = _overlap(sitk.GetArrayViewFromImage(predicted) > 0, sitk.GetArrayViewFromImage(truth) > 0)
        hd95, assd = _surface_distances(predicted, truth)
    elif any(counts):
        overlap, hd95, assd = 0.0, math.nan, math.nan
    else:
        overlap, hd95, assd = 1.0, 0.0, 0.0
    return {
        "value": value,
        "dice": overlap,
        "hd95_mm": hd95,
        "assd_mm": assd,
        "volume_mm3": volume,
        "reference_volume_mm3": expected,
        "volume_difference_percent": _difference_percent(volume, expected),
    }


def _overlap(predicted: np.ndarray, truth: np.ndarray) -> float:
    total = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return 2.0 * np.count_nonzero(predicted & truth) / total if total else 1.0


def _difference_percent(volume: float, expected: float) -> float:
    if expected:
        return 100.0 * (volume - expected) / expected
    return math.nan if volume else 0.0


def _shapes(labels: sitk.Image) -> sitk.LabelShapeStatisticsImageFilter:
    """Bounding box and voxel count of every label value, in one pass over the volume."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOff()
    shapes.Execute(labels)
    return shapes


def _count(shapes: sitk.LabelShapeStatisticsImageFilter, value: int) -> int:
    return shapes.GetNumberOfPixels(value) if shapes.HasLabel(value) else 0


def _common_box(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Start and size (x, y, z) of the box round two boxes given as (x, y, z, width, height, depth)."""
    starts = [min(pair) for pair in zip(first[:3], second[:3], strict=True)]
    ends = [max(a + b, c + d) for a, b, c, d in zip(first[:3], first[3:], second[:3], second[3:], strict=True)]
    return starts, [end - start for start, end in zip(starts, ends, strict=True)]


def _cut(image: sitk.Image, box: tuple[list[int], list[int]]) -> sitk.Image:
    """The box out of the image with one voxel of background round it, which closes surfaces at the image's edge."""
    start, size = box
    return sitk.ConstantPad(sitk.RegionOfInterest(image, size, start), [1] * 3, [1] * 3, 0)


def _surface_distances(predicted: sitk.Image, truth: sitk.Image) -> tuple[float, float]:
    """95 % Hausdorff distance and average symmetric surface distance (mm) of two binary images, neither empty."""
    surfaces = [sitk.LabelContour(mask, fullyConnected=False) for mask in (predicted, truth)]
    there = _distances_from(surfaces[0], surfaces[1])
    back = _distances_from(surfaces[1], surfaces[0])
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(hd95), float(np.concatenate([there, back]).mean())


def _distances_from(surface: sitk.Image, other: sitk.Image) -> np.ndarray:
    """Distance (mm) of every voxel of one surface to the nearest voxel of the other."""
    outside = sitk.SignedMaurerDistanceMap(other, squaredDistance=False, useImageSpacing=True)
    on_surface = sitk.GetArrayViewFromImage(surface) > 0
    return np.maximum(sitk.GetArrayViewFromImage(outside)[on_surface], 0.0)
