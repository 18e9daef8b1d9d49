"""Where a scan lies: its canonical axes, its centre, and the affine registration of one scan to another."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk

# A child of six is two thirds as tall as a grown-up, and fits of scans that show little overshoot by a tenth or two;
# beyond that mutual information has pressed a body into a corner of the other scan, or has blown up a part of it.
SCALE_LIMITS = (1 / 1.8, 1.8)
_REGISTRATION_SAMPLES = 60_000
_SHOWS_LESS = 0.75  # ratio of extents below which centres of mass may lie too far apart to be the only start
FEWEST_PLANES = 4  # along an axis that the smoothing of a registration asks for


def _turns() -> list[np.ndarray]:
    """The 24 rotations by right angles, the identity first."""
    orders, signs = permutations(range(3)), list(product((1, -1), repeat=3))
    turns = [np.eye(3)[list(order)] * sign for order in orders for sign in signs]
    return [turn for turn in turns if np.linalg.det(turn) > 0]


_TURNS = _turns()


@dataclass(frozen=True, eq=False)
class Geometry:
    """The box a scan fills, its axes put in canonical order (x to the left, y to the back, z to the head).

    The axes stay the scan's own (an oblique scan stays oblique); only their order and signs change.

    Attributes:
        size: voxels along the canonical axes.
        spacing: mm along the canonical axes.
        axes: (3, 3), columns are the canonical axes as unit vectors in LPS space.
        middle: (3,) middle of the field of view, LPS mm.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: np.ndarray
    middle: np.ndarray

    @classmethod
    def of(cls, image: sitk.Image | sitk.ImageFileReader) -> Geometry:
        """Reads the geometry of a 3-D image, or of a file whose header alone has been read."""
        probe = sitk.Image([1, 1, 1], sitk.sitkUInt8)
        probe.SetSpacing((1, 2, 3))  # tells after the reordering which axis went where
        probe.SetDirection(image.GetDirection())
        oriented = sitk.DICOMOrient(probe, "LPS")
        order = [round(s) - 1 for s in oriented.GetSpacing()]
        size, spacing = image.GetSize(), image.GetSpacing()
        to_middle = (np.array(size) - 1) / 2 * spacing
        return cls(
            size=tuple(int(size[axis]) for axis in order),
            spacing=tuple(float(spacing[axis]) for axis in order),
            axes=np.reshape(oriented.GetDirection(), (3, 3)),
            middle=np.array(image.GetOrigin()) + np.reshape(image.GetDirection(), (3, 3)) @ to_middle,
        )

    def like(self, axes: np.ndarray) -> Geometry:
        """The same box, its axes in the order and with the signs that bring them closest to others.

        Of oblique scans near 45 degrees, such as short axes of the heart, small turns decide which axis comes first; so
        those of a study follow its first atlas.

        Args:
            axes: (3, 3), columns are right-handed unit vectors in LPS space.
        """
        turn = max(_TURNS, key=lambda turn: float(np.trace(axes.T @ self.axes @ turn)))
        order = np.abs(turn).argmax(axis=0)
        size, spacing = (tuple(values[axis] for axis in order) for values in (self.size, self.spacing))
        return Geometry(size, spacing, self.axes @ turn, self.middle)

    @property
    def extent(self) -> np.ndarray:
        """(3,) field of view along the canonical axes, mm."""
        return np.array(self.size) * self.spacing


def affine(matrix: np.ndarray, translation: np.ndarray) -> sitk.AffineTransform:
    """The transform `x -> matrix @ x + translation` ((3, 3) and (3,))."""
    return sitk.AffineTransform(np.asarray(matrix, float).ravel().tolist(), np.asarray(translation, float).tolist())


def split_affine(transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """The (3, 3) matrix and (3,) translation of an affine transform, whatever its centre."""
    translation = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(tuple(unit))) - translation for unit in np.eye(3)]
    return np.stack(columns, axis=1), translation


def compose(outer: sitk.Transform, inner: sitk.Transform) -> sitk.AffineTransform:
    """The affine transform `x -> outer(inner(x))`."""
    (outer_matrix, outer_shift), (inner_matrix, inner_shift) = split_affine(outer), split_affine(inner)
    return affine(outer_matrix @ inner_matrix, outer_matrix @ inner_shift + outer_shift)


def box_corners(image: sitk.Image, low: Iterable[int] = (0, 0, 0), high: Iterable[int] | None = None) -> np.ndarray:
    """(8, 3) outer corners, LPS mm, of the box of voxels `low`..`high` (inclusive indices x, y, z; default: all)."""
    high = np.array(image.GetSize()) - 1 if high is None else high
    edges = np.array([low, high], dtype=float) + [[-0.5], [0.5]]
    picks = np.indices((2, 2, 2)).reshape(3, 8).T
    return np.array([image.TransformContinuousIndexToPhysicalPoint(edges[p, (0, 1, 2)].tolist()) for p in picks])


def placed_bounds(points: np.ndarray, placement: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates (3,) in the grid frame of (N, 3) points of the scan, mm."""
    inverse = placement.GetInverse()
    placed = np.array([inverse.TransformPoint(point) for point in points.tolist()])
    return placed.min(axis=0), placed.max(axis=0)


def centre_of_mass(image: sitk.Image) -> np.ndarray:
    """(3,) intensity centre of mass, LPS mm, of what is brighter than Otsu's threshold (the background drops out).

    An image without contrast gives the middle of its field of view.
    """
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(image)
    array = sitk.GetArrayViewFromImage(image)
    weights = np.where(array > otsu.GetThreshold(), array, 0)
    if not weights.any():
        return Geometry.of(image).middle
    index = []
    for axis in (2, 1, 0):  # x, y, z
        profile = weights.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64)
        index.append(float(profile @ np.arange(profile.size) / profile.sum()))
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


def register_affine(reference: sitk.Image, scan: sitk.Image) -> sitk.AffineTransform:
    """Registers two float images of like spacing by mutual information, their centres of mass roughly aligned.

    Either may show only a part of what the other shows. Nothing is learnt from planes that are 0 throughout: they pad.

    Returns:
        The transform from the space of `reference` to the space of `scan`, mm.

    Raises:
        RuntimeError: the registration failed, or shrinks or stretches beyond `SCALE_LIMITS`.
    """
    pair = _content(reference), _content(scan)
    # The metric is taken at points of the fixed image that fall on the moving one. With the larger as the fixed one it
    # rises where a few of them are left, or where a body is pressed together until it covers the other.
    turned = math.prod(pair[1].GetSize()) < math.prod(pair[0].GetSize())
    fixed, moving = reversed(pair) if turned else pair
    best = _best_registered(fixed, moving)
    if turned:
        best = affine(*split_affine(best.GetInverse()))
    if not _is_plausible(best):
        low, high = _scales(best)
        raise RuntimeError(f"it scales the scan by {low:.2f} to {high:.2f}")
    return best


def _best_registered(fixed: sitk.Image, moving: sitk.Image) -> sitk.AffineTransform:
    """Of what is found from all starts, the plausible transform with the best metric; else that with the best metric.

    Raises:
        RuntimeError: nothing is found from any start.
    """
    found, failure = [], None
    for start in _starts(fixed, moving):
        try:
            found.append(_registered(fixed, moving, start))
        except RuntimeError as error:  # the two drifted apart, for one
            failure = error
    if not found:
        raise failure
    return min(found, key=lambda each: (not _is_plausible(each[1]), each[0]))[1]


def _content(image: sitk.Image) -> sitk.Image:
    """An image without the planes at its ends that are 0 throughout."""
    filled = sitk.GetArrayViewFromImage(image) != 0
    if not filled.any():
        return image
    start, size = [], []
    for axis, edge in zip((2, 1, 0), image.GetSize()):  # x, y, z
        planes = np.flatnonzero(filled.any(axis=tuple({0, 1, 2} - {axis})))
        count = min(max(int(planes[-1] - planes[0]) + 1, FEWEST_PLANES), edge)
        start.append(min(int(planes[0]), edge - count))
        size.append(count)
    return sitk.RegionOfInterest(image, size, start)


def _starts(fixed: sitk.Image, moving: sitk.Image) -> list[np.ndarray]:
    """Shifts (3,) from `fixed` to `moving`, mm, from which they are registered.

    The centre of mass of a scan that shows a part is not that of the whole. The part is often one end of it, so where
    extents differ much, the ends along the axis that differs most are starts too.
    """
    starts = [np.zeros(3)]
    boxes = box_corners(fixed), box_corners(moving)
    lows, highs = (np.array([end(box, axis=0) for box in boxes]) for end in (np.min, np.max))
    extents = highs - lows
    less = extents.min(axis=0) < _SHOWS_LESS * extents.max(axis=0)
    axis = int(np.where(less, np.ptp(extents, axis=0), 0.0).argmax())
    if less.any():
        starts += [np.where(np.arange(3) == axis, ends[1] - ends[0], 0.0) for ends in (lows, highs)]
    return starts


def _registered(fixed: sitk.Image, moving: sitk.Image, start: np.ndarray) -> tuple[float, sitk.AffineTransform]:
    """The metric (lower is better) and the transform from `fixed` to `moving` that is found from a shift on."""
    middle = fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()])
    transform = sitk.AffineTransform(np.eye(3).ravel().tolist(), start.tolist(), middle)
    spacing = max(fixed.GetSpacing())
    shrinks = [factor for factor in (4, 2, 1) if factor == 1 or min(fixed.GetSize()) >= 12 * factor]

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel(
        [min(1.0, _REGISTRATION_SAMPLES * factor**3 / math.prod(fixed.GetSize())) for factor in shrinks], seed=1
    )
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=spacing, minStep=0.005 * spacing, numberOfIterations=150, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(shrinks)
    method.SetSmoothingSigmasPerLevel([0.5 * spacing * factor for factor in shrinks])
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)
    return method.GetMetricValue(), affine(*split_affine(transform))


def _scales(transform: sitk.Transform) -> tuple[float, float]:
    """The least and the largest factor by which an affine transform stretches."""
    scales = np.linalg.svd(split_affine(transform)[0], compute_uv=False)
    return float(scales.min()), float(scales.max())


def _is_plausible(transform: sitk.Transform) -> bool:
    low, high = _scales(transform)
    return SCALE_LIMITS[0] <= low and high <= SCALE_LIMITS[1]
