"""The whole first atlas in coarse voxels, to which scans are registered where the networks see only a part of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from .grid import WorkingGrid
from .grid_fit import fit_grid

MOST_VOXELS = 64**3  # registering draws 60,000 of them


@dataclass(frozen=True, eq=False)
class Overview:
    """A volume in the grid frame.

    Attributes:
        volume: float32 (D, H, W) in [0, 1].
        spacing: mm (x, y, z).
        origin: centre of the first voxel in the grid frame, mm (x, y, z).
    """

    volume: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    @classmethod
    def of(cls, grid: WorkingGrid, image: sitk.Image, placement: sitk.Transform) -> Overview:
        """All of a scan that is placed on a working grid, whatever part of it the grid covers."""
        geometry = grid.geometry(image)
        _, spacing = fit_grid(geometry.extent, geometry.spacing, MOST_VOXELS)
        whole = grid.own_box(image, placement, spacing)
        return cls(whole.sample_image(image, placement), whole.spacing, whole.origin)

    def to_json(self) -> dict[str, Any]:
        """Where the volume lies, as JSON values."""
        return {"spacing": list(self.spacing), "origin": list(self.origin)}

    @classmethod
    def from_json(cls, place: dict[str, Any], volume: np.ndarray) -> Overview:
        """The overview that lies where :meth:`to_json` said.

        Raises:
            KeyError, TypeError, ValueError: it cannot lie there, or is no volume.
        """
        check_place(place)
        if volume.ndim != 3 or not volume.size:
            raise ValueError("the overview is no volume")
        return cls(volume, tuple(place["spacing"]), tuple(place["origin"]))

    @property
    def image(self) -> sitk.Image:
        """The reference of :meth:`brbs.grid.WorkingGrid.place`."""
        image = sitk.GetImageFromArray(self.volume.astype(np.float32))
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        return image


def check_place(place: dict[str, Any]) -> None:
    """Checks what :meth:`Overview.to_json` has told.

    Raises:
        KeyError, TypeError, ValueError: no volume can lie there.
    """
    for name in ("spacing", "origin"):
        values = place[name]
        if len(values) != 3 or not all(type(value) in (int, float) and math.isfinite(value) for value in values):
            raise ValueError(f"the overview's {name} is not told by three numbers")
    if min(place["spacing"]) <= 0:
        raise ValueError("the overview's spacing is not positive")
