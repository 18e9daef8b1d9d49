"""From class probabilities on the working grid's lattice back to the scan's own voxels, slab by slab."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import SimpleITK as sitk

from .argmax import running_argmax
from .grid import WorkingGrid
from .splines import refined

_TOUCH = 1e-6  # voxels, by which the search for voxels of a slab reaches too far rather than not far enough
_EDGE = 48  # voxels of a brick: smaller ones leave out more classes, larger ones take fewer calls
_LEAST = -8.0  # logarithm of a probability, below which there is nothing to tell
_OF_NOTHING = 1e-3  # of logarithms, by which an interpolated one may exceed that and still be as low
_HOPELESS = 5.0  # of logarithms: what is so much less probable than another class at all voxels, wins nowhere between
_REACH = 6  # voxels around a place that splines are made of; what others would change is below 0.001
_COARSER, _MUCH_COARSER = 1.1, 3.0  # edges of the lattice's voxels, in voxels of the scan


class _Slab:
    """Some of the lattice's planes, and which of their voxels let a class be the most probable one nearby.

    Args:
        lattice: grid of all planes.
        first: index of the first plane here.
        planes: logarithms of probabilities, (K, planes, H, W).
        low: height on the lattice, in planes, from which voxels of the scan belong to the slab.
        high: height below which they do.
        factors: finer voxels that each becomes by splines, along (z, y, x).
    """

    def __init__(
        self,
        lattice: WorkingGrid,
        first: int,
        planes: np.ndarray,
        low: float,
        high: float,
        factors: tuple[int, ...],
    ) -> None:
        self._factors = factors
        self.grid, self.first, self.low, self.high = lattice.slab(first, planes.shape[1]), first, low, high
        self._planes = planes

    @property
    def class_count(self) -> int:
        """Background included."""
        return len(self._planes)

    def able(self, part: tuple[slice, ...]) -> Sequence[int]:
        """Structures that can be the most probable class somewhere between the voxels of a part (z, y, x)."""
        return (np.flatnonzero(self._able[(slice(None), *part)].any(axis=(1, 2, 3))) + 1).tolist()

    @cached_property
    def _able(self) -> np.ndarray:
        """Bool (K - 1, planes, H, W): where structures are not hopelessly less probable than another class."""
        return self._planes[1:] > self._planes.max(0) - np.float32(_HOPELESS)

    def image(self, index: int, part: tuple[slice, ...]) -> sitk.Image:
        """The logarithm of a class's probability at the finer voxels of a part (z, y, x), in the grid frame."""
        around = [
            slice(max(0, axis.start - _REACH), axis.stop + _REACH) if factor > 1 else axis
            for axis, factor in zip(part, self._factors)
        ]
        inner = [slice(axis.start - more.start, axis.stop - more.start) for axis, more in zip(part, around)]
        image = sitk.GetImageFromArray(refined(self._planes[index][tuple(around)], tuple(inner), self._factors))
        finer = np.array(self.grid.spacing) / self._factors[::-1]
        first = np.array([axis.start for axis in part[::-1]]) - 0.5
        image.SetOrigin((self.grid.origin + first * self.grid.spacing + finer / 2).tolist())
        image.SetSpacing(finer.tolist())
        return image


def _bricks(box: tuple[slice, ...]) -> Iterator[tuple[slice, ...]]:
    """The parts of a box (z, y, x), cubes but at its ends."""
    cuts = ([slice(low, min(low + _EDGE, part.stop)) for low in range(part.start, part.stop, _EDGE)] for part in box)
    return itertools.product(*cuts)


class Restoration:
    """Takes the lattice's planes in order and finds the most probable class of each voxel of the scan.

    The logarithms of probabilities are interpolated by cubic splines before they are compared, as means of coarse
    voxels would wear small structures down; where the scan's voxels are the lattice's own, there is nothing to be
    interpolated. Outside the lattice lies background. The scan is taken brick by brick, and in each only those
    classes are interpolated that can win somewhere in it.

    Args:
        lattice: grid of the probabilities.
        image: the scan; gives size, origin, spacing and direction of the result.
        placement: of the scan.
        keep_probabilities: also keep the interpolated probabilities, which takes 4 bytes a voxel and class.
    """

    def __init__(
        self, lattice: WorkingGrid, image: sitk.Image, placement: sitk.Transform, keep_probabilities: bool = False
    ) -> None:
        self._lattice, self._image, self._to_lattice = lattice, image, placement.GetInverse()
        self._classes = np.zeros(image.GetSize()[::-1], np.uint8)
        self._keep, self._maps = keep_probabilities, np.zeros((0, *self._classes.shape), np.float32)
        self._kept = np.zeros((0, 0, *lattice.shape[1:]), np.float32)  # last planes so far, for those that follow
        self._done = -np.inf  # height below which all voxels have their class
        self._indices = lattice.indices(image, placement)  # on the lattice, of scan index (x, y, z, 1)
        steps = 1 / np.abs(self._indices[:3]).max(0)[::-1]  # of the lattice, (z, y, x), in voxels of the scan
        # Odd, so that the lattice's own values are among those that straight lines then join.
        self._factors = tuple(np.select([steps > _MUCH_COARSER, steps > _COARSER], [5, 3], 1).tolist())
        self._reach = _REACH if self._factors[0] > 1 else 1  # planes
        self._height = self._indices[:, 2]  # in planes: hx, hy, hz, h0

    @property
    def classes(self) -> sitk.Image:
        """Class indices, uint8, on the scan's grid."""
        return self._on_scan(self._classes)

    @property
    def probabilities(self) -> list[sitk.Image]:
        """A float32 image a class on the scan's grid, background first; outside the lattice background has 1."""
        return [self._on_scan(values) for values in self._maps]

    def add(self, first: int, planes: np.ndarray) -> None:
        """Takes the next planes.

        Args:
            first: index of the first one; all before it have been taken.
            planes: float (K, planes, H, W), not negative, class 0 is the background.
        """
        last = first + planes.shape[1]
        logs = np.maximum(planes, math.exp(_LEAST), dtype=np.float32)
        np.log(logs, out=logs)
        if first:
            logs, first = np.concatenate([self._kept, logs], axis=1), first - self._kept.shape[1]
        low, high = self._done, np.inf if last == self._lattice.size[2] else float(last - self._reach)
        if high > low:
            self._fill(_Slab(self._lattice, first, logs, low, high, self._factors))
            self._done = high
        self._kept = logs[:, max(0, last - 2 * self._reach - first) :].copy()

    def _fill(self, slab: _Slab) -> None:
        """The voxels that belong to a slab."""
        if self._keep and not len(self._maps):
            self._maps = np.zeros((slab.class_count, *self._classes.shape), np.float32)
            self._maps[0] = 1
        for brick in _bricks(self._box(slab.low, slab.high)):
            self._fill_brick(brick, slab)

    def _fill_brick(self, brick: tuple[slice, ...], slab: _Slab) -> None:
        """The voxels of a brick (z, y, x) that belong to a slab."""
        part = self._part(brick, slab)
        able = slab.able(part)
        if self._keep and all(along.stop > along.start for along in part):
            able = range(1, slab.class_count)
        if not able:
            return  # background, as all voxels are from the outset
        inside, found = self._inside(brick, slab), self._maps[(slice(None), *brick)]

        # The same part for all of them: places are rounded alike, so that equals stay equal.
        def membership(index: int) -> sitk.Image:
            image = self._resampled(slab.image(index, part), brick, index)
            if self._keep:
                np.copyto(found[index], sitk.GetArrayViewFromImage(image), where=inside)
            return image

        np.copyto(self._classes[brick], running_argmax(membership, [0, *able]), where=inside)
        if self._keep:
            np.multiply(np.exp(found), found > _LEAST + _OF_NOTHING, out=found, where=inside)
            np.divide(found, np.maximum(found.sum(0), math.exp(_LEAST)), out=found, where=inside)

    def _resampled(self, source: sitk.Image, box: tuple[slice, ...], index: int) -> sitk.Image:
        """The logarithm of a class's probability at the voxels of a box (z, y, x)."""
        origin = self._image.TransformIndexToPhysicalPoint([part.start for part in box[::-1]])
        size = [part.stop - part.start for part in box[::-1]]
        spacing, direction = self._image.GetSpacing(), self._image.GetDirection()
        outside = 0.0 if index == 0 else _LEAST
        return sitk.Resample(
            source, size, self._to_lattice, sitk.sitkLinear, origin, spacing, direction, outside, sitk.sitkFloat32
        )

    def _part(self, brick: tuple[slice, ...], slab: _Slab) -> tuple[slice, ...]:
        """Voxels (z, y, x) of a slab that the voxels of a brick lie between."""
        corners = np.array([(part.start, part.stop - 1) for part in brick[::-1]])[..., None]  # axis, end
        ends = np.sort(self._indices[:3, None] * corners, axis=1).sum(0) + self._indices[3]  # least and greatest
        ends[:, 2] -= slab.first
        first = np.maximum(np.floor(ends[0] - _TOUCH), 0).astype(int)
        last = np.minimum(np.ceil(ends[1] + _TOUCH), np.array(slab.grid.size) - 1).astype(int)
        return tuple(slice(low, max(high + 1, low)) for low, high in zip(first.tolist(), last.tolist()))[::-1]

    def _box(self, low: float, high: float) -> tuple[slice, ...]:
        """A box (z, y, x) of the scan with all voxels from ``low`` to ``high``."""
        counts = np.array(self._image.GetSize())
        ends = np.sort(self._height[:3, None] * np.stack([np.zeros(3), counts - 1], axis=1), axis=1)
        box = []
        for axis, count in enumerate(counts.tolist()):
            others = self._height[3] + ends.sum(0) - ends[axis]  # least and greatest height without this axis
            slope = self._height[axis]
            first, last = 0.0, count - 1.0
            if abs(slope) * count > _TOUCH:
                bounds = np.sort([(low - others[1]) / slope, (high - others[0]) / slope])
                first, last = np.clip([bounds[0] - _TOUCH, bounds[1] + _TOUCH], [0, -1], [count, count - 1])
            box.append(slice(int(np.ceil(first)), int(np.floor(last)) + 1))
        return tuple(box[::-1])

    def _inside(self, box: tuple[slice, ...], slab: _Slab) -> np.ndarray | bool:
        """Which voxels of a box (z, y, x) belong to a slab."""
        if slab.low == -np.inf and slab.high == np.inf:
            return True
        z, y, x = np.ogrid[box]
        height = self._height[3] + self._height[0] * x + self._height[1] * y + self._height[2] * z
        return (height >= slab.low) & (height < slab.high)

    def _on_scan(self, values: np.ndarray) -> sitk.Image:
        result = sitk.GetImageFromArray(values)
        result.CopyInformation(self._image)
        return result


def restore(grid: WorkingGrid, probabilities: np.ndarray, image: sitk.Image, placement: sitk.Transform) -> sitk.Image:
    """Class indices on the scan's own grid, from all probabilities (K, D, H, W) at once."""
    restoration = Restoration(grid, image, placement)
    restoration.add(0, probabilities)
    return restoration.classes


def restored(grid: WorkingGrid, values: np.ndarray, image: sitk.Image, placement: sitk.Transform) -> sitk.Image:
    """Values (D, H, W) of a grid on the scan's own voxels, float32, linear; 0 where the grid ends."""
    source = grid.image(np.asarray(values, np.float32))
    result = sitk.Resample(source, image, placement.GetInverse(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    result.CopyInformation(image)
    return result
