"""From class probabilities on the working grid's lattice back to the scan's own voxels, slab by slab."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .argmax import running_argmax
from .grid import WorkingGrid

_TOUCH = 1e-6  # voxels, by which the search for voxels of a slab reaches too far rather than not far enough


class Restoration:
    """Takes the lattice's planes in order and finds the most probable class of each voxel of the scan.

    Probabilities are interpolated linearly before they are compared; outside the lattice lies background.

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
        self._above: np.ndarray | None = None  # the last plane so far
        self._height = lattice.indices(image, placement)[:, 2]  # of scan index (x, y, z), in planes: hx, hy, hz, h0

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
        low = -np.inf if self._above is None else first - 1
        high = np.inf if last == self._lattice.size[2] else last - 1
        if self._above is not None:
            planes = np.concatenate([self._above[:, None], planes], axis=1)
            first -= 1
        self._above = planes[:, -1].copy()
        box = self._box(low, high)
        if all(part.stop > part.start for part in box):
            self._fill(box, self._lattice.slab(first, planes.shape[1]), planes, low, high)

    def _fill(self, box: tuple[slice, ...], slab: WorkingGrid, planes: np.ndarray, low: float, high: float) -> None:
        """Voxels of a box (z, y, x) whose height on the lattice is from ``low`` to below ``high``."""
        inside = self._inside(box, low, high)
        size, origin = self._region(box)
        spacing, direction = self._image.GetSpacing(), self._image.GetDirection()

        def membership(index: int) -> sitk.Image:
            outside = 1.0 if index == 0 else 0.0
            source = slab.image(np.ascontiguousarray(planes[index], dtype=np.float32))
            found = sitk.Resample(
                source, size, self._to_lattice, sitk.sitkLinear, origin, spacing, direction, outside, sitk.sitkFloat32
            )
            if self._keep:
                np.copyto(self._maps[index][box], sitk.GetArrayViewFromImage(found), where=inside)
            return found

        if self._keep and not len(self._maps):
            self._maps = np.zeros((len(planes), *self._classes.shape), np.float32)
        np.copyto(self._classes[box], running_argmax(membership, range(len(planes))), where=inside)

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

    def _region(self, box: tuple[slice, ...]) -> tuple[list[int], tuple[float, ...]]:
        """Size in voxels and origin in mm of a box (z, y, x)."""
        origin = self._image.TransformIndexToPhysicalPoint([part.start for part in box[::-1]])
        return [part.stop - part.start for part in box[::-1]], origin

    def _inside(self, box: tuple[slice, ...], low: float, high: float) -> np.ndarray:
        z, y, x = np.ogrid[box]
        height = self._height[3] + self._height[0] * x + self._height[1] * y + self._height[2] * z
        return (height >= low) & (height < high)

    def _on_scan(self, values: np.ndarray) -> sitk.Image:
        result = sitk.GetImageFromArray(values)
        result.CopyInformation(self._image)
        return result


def restore(grid: WorkingGrid, probabilities: np.ndarray, image: sitk.Image, placement: sitk.Transform) -> sitk.Image:
    """Class indices on the scan's own grid, from all probabilities (K, D, H, W) at once."""
    restoration = Restoration(grid, image, placement)
    restoration.add(0, probabilities)
    return restoration.classes


def restored(
    grid: WorkingGrid, values: np.ndarray, image: sitk.Image, placement: sitk.Transform, outside: float = 0.0
) -> sitk.Image:
    """Values (D, H, W) of a grid on the scan's own voxels, float32, linear; ``outside`` where the grid ends."""
    source = grid.image(np.asarray(values, np.float32))
    result = sitk.Resample(source, image, placement.GetInverse(), sitk.sitkLinear, outside, sitk.sitkFloat32)
    result.CopyInformation(image)
    return result
