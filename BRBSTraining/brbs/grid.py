"""The working grid: the one lattice of voxels on which the networks see every scan, and the way back.

Arrays are (D, H, W) = (z, y, x); sizes, spacings and points are (x, y, z). The grid lives in a frame of its own, in mm,
whose axes run to the patient's left, back and head and whose origin is the centre of the placed scan. A *placement* is
the affine transform from this frame to the scan's physical (LPS) space.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from .alignment import (
    FEWEST_PLANES,
    Geometry,
    affine,
    box_corners,
    centre_of_mass,
    compose,
    placed_bounds,
    register_affine,
    split_affine,
)
from .argmax import running_argmax
from .boxes import Box, class_boxes
from .errors import InputError, named

log = logging.getLogger("brbs")

MOST_VOXELS = 2**29  # of a grid that a description may ask for; far above what any device trains on
MOST_COVERING = 2**28  # voxels with which a scan is covered, 1 GiB, unless the scan itself has many
_MUCH_MORE = 4  # times as many as the scan has
SAME_SPACING = 1e-3  # relative difference below which two spacings count as equal
_MUCH_FINER = 1.25  # grid step in scan voxels above which the scan is smoothed before it is sampled
LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)  # axes to the left, to the back, to the head
LABEL_SMOOTHING = 0.25  # part of a scan's smoothing with which balls and tubes of a few voxels keep their volume best


def normalise(
    array: np.ndarray,
    intensity: str = "percentiles",
    percentiles: tuple[float, float] = (0.5, 99.5),
    window: tuple[float, float] = (0.0, 2048.0),
) -> np.ndarray:
    """Maps intensities to [0, 1] and clips.

    Args:
        array: intensities of a whole scan, any shape.
        intensity: "percentiles" (of this array; the full range where they coincide) or "window" (fixed values).
        percentiles: lower and upper percentile, 0..100.
        window: lower and upper intensity.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: `intensity` is neither of the two.
    """
    if intensity == "percentiles":
        low, high = (float(value) for value in np.percentile(array, percentiles))
        if high <= low:
            low, high = float(np.min(array)), float(np.max(array))
    elif intensity == "window":
        low, high = window
    else:
        raise ValueError(f"intensity must be 'percentiles' or 'window', not {intensity!r}")
    scaled = (np.asarray(array, np.float32) - np.float32(low)) / np.float32(high - low if high > low else 1.0)
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def _around(image: sitk.Image, box: Box, reach: Sequence[int]) -> sitk.Image:
    """The part of an image within a box and so many voxels around it."""
    start = [max(first - beyond, 0) for first, beyond in zip(box[0], reach)]
    ends = zip(*box, reach, image.GetSize(), strict=True)
    stop = [min(first + count + beyond, size) for first, count, beyond, size in ends]
    return sitk.RegionOfInterest(image, [end - first for first, end in zip(start, stop)], start)


def _are_numbers(values: Any, count: int) -> bool:
    """Whether these are so many finite numbers."""
    if not isinstance(values, tuple) or len(values) != count:
        return False
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)


def _is_rotation(matrix: np.ndarray) -> bool:
    return np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3) and np.linalg.det(matrix) > 0


@dataclass(frozen=True)
class WorkingGrid:
    """A regular lattice in the grid frame, and how scans are placed on it and brought to one intensity scale.

    Voxel `i` of an axis has its centre at `offset + (i - (size - 1) / 2) * spacing`.

    Attributes:
        size: voxels (x, y, z).
        spacing: mm (x, y, z).
        alignment: "none" (middle of the field of view), "center-of-mass" or "affine" (to the first atlas).
        intensity: "percentiles" or "window", see `normalise`.
        percentiles: 0..100.
        window: intensities.
        offset: centre of the grid in the grid frame, mm.
        region: "whole" scan, or the surroundings of the "labels" only.
        axes: of the first atlas, 3 x 3 row by row, columns are unit vectors in LPS space; scans are taken by those of
            their axes that come closest.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    alignment: str = "none"
    intensity: str = "percentiles"
    percentiles: tuple[float, float] = (0.5, 99.5)
    window: tuple[float, float] = (0.0, 2048.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    region: str = "whole"
    axes: tuple[float, ...] = LPS

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (D, H, W)."""
        return self.size[::-1]

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre of the first voxel in the grid frame, mm."""
        return tuple(float(value) for value in np.array(self.offset) - (np.array(self.size) - 1) / 2 * self.spacing)

    def to_json(self) -> dict[str, Any]:
        """The grid as JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> WorkingGrid:
        """The grid that `to_json` described.

        Raises:
            InputError: an entry is missing or unknown, or a value that no grid has.
        """
        names = {field.name for field in fields(cls)}
        if isinstance(values, dict):
            values = {"axes": LPS, **values}  # which earlier versions did not tell
        if not isinstance(values, dict) or set(values) != names:
            raise InputError(f"working grid: missing or unknown entries {sorted(names ^ set(values))}")
        grid = cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
        for name, usable in grid._usable():
            if not usable:
                raise InputError(f"working grid: {name} {getattr(grid, name)!r} cannot be")
        return grid

    def _usable(self) -> Iterator[tuple[str, bool]]:
        """Names of what is described, and whether it can be; later ones suppose that earlier ones can."""
        yield "size", _are_numbers(self.size, 3) and all(type(edge) is int and edge >= 1 for edge in self.size)
        yield "size", math.prod(self.size) <= MOST_VOXELS
        yield "spacing", _are_numbers(self.spacing, 3) and min(self.spacing) > 0
        yield "offset", _are_numbers(self.offset, 3)
        yield "percentiles", _are_numbers(self.percentiles, 2)
        yield "percentiles", 0 <= self.percentiles[0] < self.percentiles[1] <= 100
        yield "window", _are_numbers(self.window, 2)
        yield "alignment", self.alignment in ("none", "center-of-mass", "affine")
        yield "intensity", self.intensity in ("percentiles", "window")
        yield "region", self.region in ("whole", "labels")
        yield "axes", _are_numbers(self.axes, 9)
        yield "axes", _is_rotation(np.reshape(self.axes, (3, 3)))

    def image(self, array: np.ndarray) -> sitk.Image:
        """A (D, H, W) array on this grid as an image in the grid frame; such an image is the reference of `place`."""
        half = array.dtype == np.float16  # a type that SimpleITK lacks
        image = sitk.GetImageFromArray(array.astype(np.float32) if half else array)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        return image

    def geometry(self, image: sitk.Image) -> Geometry:
        """The box that a scan fills, by those of its axes that come closest to this grid's."""
        return Geometry.of(image).like(np.reshape(self.axes, (3, 3)))

    def place(self, image: sitk.Image, reference: sitk.Image | None = None) -> sitk.AffineTransform:
        """Places a scan: from the grid frame (mm) to the scan's physical space (LPS mm).

        Along axes where scan and grid have equal spacing the grid's voxels fall on the scan's voxels, so that
        nothing is interpolated (affine alignment apart).

        Args:
            image: 3-D scan.
            reference: with alignment "affine", the first atlas in the grid frame, on this grid (see `image`) or in
                voxels of its own (see :class:`brbs.overview.Overview`); None when `image` is it. Either may show only
                a part of what the other shows.

        Raises:
            InputError: as for `lattice`.
        """
        geometry = self.geometry(image)
        centre = geometry.middle
        if self.alignment != "none":
            centre = centre_of_mass(self._normalised(image))
        placement = affine(geometry.axes, self._snapped(geometry, centre))
        if self.alignment != "affine" or reference is None:
            return placement
        own = self.own_box(image, placement, reference.GetSpacing())
        try:
            scan = own.image(own.sample_image(image, placement))
            return compose(placement, register_affine(sitk.Cast(reference, sitk.sitkFloat32), scan))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            problem = f"could not be aligned to the first atlas ({reason}), so its centre of mass was"
            log.warning("%s: %s; check that both show the same part of the body", named(), problem)
            return placement

    def _snapped(self, geometry: Geometry, centre: np.ndarray) -> np.ndarray:
        """`centre` (LPS mm) moved by at most half a voxel so that voxels of equal spacing coincide."""
        spacing = np.array(geometry.spacing)
        shift = geometry.axes.T @ (centre - geometry.middle) / spacing
        first = (np.array(geometry.size) - 1) / 2 + shift + np.array(self.origin) / spacing  # scan index of voxel 0
        snap = np.floor(first + 0.5 - 1e-6) - first
        equal = np.abs(np.array(self.spacing) / spacing - 1) < SAME_SPACING
        return geometry.middle + geometry.axes @ ((shift + np.where(equal, snap, 0.0)) * spacing)

    def sample_image(self, image: sitk.Image, placement: sitk.Transform) -> np.ndarray:
        """A scan on this grid: float32 (D, H, W), normalised to [0, 1], linear; 0 outside the scan."""
        smooth = self._smoothed(self._normalised(image), placement)
        return sitk.GetArrayFromImage(self._resampled(smooth, placement))

    def sample_labels(self, classes: sitk.Image, placement: sitk.Transform) -> np.ndarray:
        """A label map on this grid, by majority where its voxels are finer.

        It is smoothed a quarter as much as a scan, so that small structures keep their volume and thin ones stay.

        Args:
            classes: class indices 0..255, 0 = background.
            placement: of the scan that the label map belongs to.

        Returns:
            uint8 (D, H, W); background outside the label map.
        """
        boxes = class_boxes(classes)

        def membership(index: int) -> sitk.Image:
            part = classes if index == 0 else _around(classes, boxes[index], self._reach(classes, placement))
            mask = sitk.Cast(part == index, sitk.sitkFloat32)
            smooth = self._smoothed(mask, placement, LABEL_SMOOTHING)
            return self._resampled(smooth, placement, 1.0 if index == 0 else 0.0)

        return running_argmax(membership, [0, *(index for index in boxes if index != 0)])

    def lattice(self, image: sitk.Image, placement: sitk.Transform) -> WorkingGrid:
        """This grid enlarged, voxels staying where they are, until it covers the scan's whole field of view.

        With region "labels" the networks know nothing of the rest, and the grid itself is returned.

        Raises:
            InputError: that takes far too many voxels, as where millimetres are meant but micrometres are told.
        """
        return self if self.region == "labels" else self._cover(image, placement)

    def slab(self, first: int, count: int) -> WorkingGrid:
        """The ``count`` planes from ``first`` on of this grid."""
        shift = first + (count - self.size[2]) / 2
        offset = (*self.offset[:2], self.offset[2] + shift * self.spacing[2])
        return replace(self, size=(*self.size[:2], count), offset=offset)

    def position(self, grid: WorkingGrid) -> tuple[int, int, int]:
        """Index (z, y, x) on this grid of the first voxel of a smaller one whose voxels are among its own."""
        first = np.rint((np.array(grid.origin) - self.origin) / self.spacing).astype(int)
        return tuple(first[::-1].tolist())

    def indices(self, image: sitk.Image, placement: sitk.Transform) -> np.ndarray:
        """(4, 3): a scan's index (x, y, z, 1) times this is the continuous index (x, y, z) of the grid there."""
        to_grid = placement.GetInverse()

        def index(of_scan: tuple[float, ...]) -> np.ndarray:
            point = to_grid.TransformPoint(image.TransformContinuousIndexToPhysicalPoint(of_scan))
            return (np.array(point) - self.origin) / self.spacing

        zero = index((0.0, 0.0, 0.0))
        # Over a long way, as the steps themselves would be rounded.
        return np.array([*((index(tuple(1000.0 * unit)) - zero) / 1000 for unit in np.eye(3)), zero])

    def _normalised(self, image: sitk.Image) -> sitk.Image:
        values = normalise(sitk.GetArrayViewFromImage(image), self.intensity, self.percentiles, self.window)
        result = sitk.GetImageFromArray(values)
        result.CopyInformation(image)
        return result

    def _smoothed(self, image: sitk.Image, placement: sitk.Transform, strength: float = 1.0) -> sitk.Image:
        """A float image smoothed along those of its axes that are much finer than the grid (against aliasing)."""
        for axis, step in enumerate(self.steps(image, placement)):
            if step > _MUCH_FINER and image.GetSize()[axis] >= 4:  # the filter's least size
                # what turns a voxel's width into the grid's, both seen as Gaussians (full width at half maximum)
                sigma = strength * math.sqrt((step**2 - 1) / (8 * math.log(2))) * image.GetSpacing()[axis]
                image = sitk.RecursiveGaussian(image, sigma=sigma, direction=axis)
        return image

    def steps(self, image: sitk.Image, placement: sitk.Transform) -> np.ndarray:
        """A step on this grid in voxels of an image, along the image's axes (3,)."""
        to_axes = np.reshape(image.GetDirection(), (3, 3)).T @ split_affine(placement)[0] * self.spacing
        return np.linalg.norm(to_axes, axis=1) / image.GetSpacing()

    def _reach(self, image: sitk.Image, placement: sitk.Transform) -> list[int]:
        """Voxels of an image, along its axes, beyond which nothing of a structure is left after smoothing."""
        return [math.ceil(2 * step) + 4 for step in self.steps(image, placement)]

    def _resampled(self, image: sitk.Image, placement: sitk.Transform, outside: float = 0.0) -> sitk.Image:
        return sitk.Resample(
            image, self.size, placement, sitk.sitkLinear, self.origin, self.spacing, np.eye(3).ravel().tolist(), outside
        )

    def _cover(self, image: sitk.Image, placement: sitk.Transform) -> WorkingGrid:
        low, high = placed_bounds(box_corners(image), placement)
        tolerance, last = 1e-3, np.array(self.size) - 1
        first_index = np.floor((low - self.origin) / self.spacing + 0.5 + tolerance)
        last_index = np.ceil((high - self.origin) / self.spacing - 0.5 - tolerance)
        first_index, last_index = np.minimum(first_index, 0), np.maximum(last_index, last)
        offset = np.array(self.offset) + (first_index + last_index - last) / 2 * self.spacing
        size = tuple(int(count) for count in last_index - first_index + 1)
        return self._spread(size, offset, image, high - low)

    def own_box(self, image: sitk.Image, placement: sitk.Transform, spacing: tuple[float, ...]) -> WorkingGrid:
        """A grid of some spacing (mm) for a scan's field of view without what lies around it, which would be 0.

        Raises:
            InputError: as for `lattice`.
        """
        low, high = placed_bounds(box_corners(image), placement)
        size = tuple(max(FEWEST_PLANES, round(count)) for count in ((high - low) / spacing).tolist())
        return replace(self, spacing=spacing)._spread(size, (low + high) / 2, image, high - low)

    def _spread(
        self, size: tuple[int, int, int], offset: np.ndarray, image: sitk.Image, extent: np.ndarray
    ) -> WorkingGrid:
        """This grid with another size and centre, for a scan that shows `extent` mm.

        Raises:
            InputError: these are far too many voxels.
        """
        if math.prod(size) > max(MOST_COVERING, _MUCH_MORE * math.prod(image.GetSize()), math.prod(self.size)):
            shown = " x ".join(f"{edge:.3g}" for edge in extent)
            edges = " x ".join(f"{edge:.3g}" for edge in self.spacing)
            raise InputError(
                f"shows {shown} mm, too much to be covered with voxels of {edges} mm; "
                "check the spacing of the scan and that of the atlases"
            )
        return replace(self, size=size, offset=tuple(float(value) for value in offset))
