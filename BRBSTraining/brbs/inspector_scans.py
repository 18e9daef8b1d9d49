"""Scans and reference label maps on a model's working grid, and what was done to bring them there."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .alignment import Geometry
from .errors import InputError, naming
from .grid import SAME_SPACING
from .image_files import pairing_name
from .model import ModelBundle
from .volumes import check_pair, read_image, read_label_map

log = logging.getLogger("brbs")

_SAME_SCAN = 0.98  # correlation of grey values above which a scan of an atlas's name is that atlas


def find_atlas(bundle: ModelBundle, atlas: str | Path, model: str | Path = "model") -> int:
    """Index of the atlas of that name, or of the name of that file.

    Raises:
        InputError: the model, called ``model`` in the message, has no such atlas; the message lists those it has.
    """
    names = bundle.provenance.get("atlases", [])
    if not len(bundle.atlas_images):
        raise InputError(f"{model}: holds no atlases, so nothing can be generated from it; train it with BRBS")
    if not names:
        remedy = "use the model that it was exported from"
        raise InputError(f"{model}: its atlases have no names, as it was exported without them; {remedy}")
    known = [unicodedata.normalize("NFC", name) for name in names]
    for name in (unicodedata.normalize("NFC", str(atlas)), pairing_name(atlas)):
        if name in known:
            return known.index(name)
    raise InputError(f"{atlas}: is not an atlas of {model}; there are: {', '.join(names)}")


@dataclass(frozen=True, eq=False)
class PlacedScan:
    """A scan on the working grid.

    Attributes:
        path: its file.
        scan: as read.
        placement: see :mod:`brbs.grid`.
        image: float32 (D, H, W) in [0, 1].
    """

    path: Path
    scan: sitk.Image
    placement: sitk.Transform
    image: np.ndarray


class ScanPlacer:
    """Brings scans and label maps onto the working grid of a model.

    Args:
        bundle: the model.

    Attributes:
        notes: a sentence for each scan or label map whose grid was another; they are said in the log, too.
    """

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle, self.notes = bundle, []

    def place(self, path: Path) -> PlacedScan:
        """Reads a scan and places it.

        Raises:
            InputError: the file cannot be read.
        """
        scan = read_image(path)
        self._tell_grid(path, self.bundle.grid.geometry(scan))
        with naming(path):
            placement = self.bundle.grid.place(scan, self.bundle.reference)
        return PlacedScan(path, scan, placement, self.bundle.grid.sample_image(scan, placement))

    def _tell_grid(self, path: Path, found: Geometry) -> None:
        grid = self.bundle.grid
        interpolated = np.any(np.abs(np.divide(found.spacing, grid.spacing) - 1) > SAME_SPACING)
        if interpolated:
            self.tell(f"{path.name}: resampled from {_lattice(found)} onto the model's {_lattice(grid)}")
        elif found.size != grid.size:
            self.tell(f"{path.name}: cut or padded from {_size(found.size)} voxels to the model's {_size(grid.size)}")

    def reference(self, space: PlacedScan, labels: Path | None) -> np.ndarray | None:
        """What is known of the structures in a scan.

        Args:
            space: the scan.
            labels: its label map; None: if the scan is an atlas of the model, that atlas's own.

        Returns:
            uint8 (D, H, W) class indices on the working grid, or None where nothing is known.

        Raises:
            InputError: the label map cannot be read or holds values that the model does not know.
        """
        if labels is None:
            return self._atlas_labels(space)
        label_map = read_label_map(labels)
        try:
            check_pair(space.scan, label_map, space.path, labels)
        except InputError:
            label_map = sitk.Resample(label_map, space.scan, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
            self.tell(f"{labels.name}: resampled onto the grid of {space.path.name}")
        classes = sitk.GetImageFromArray(self.bundle.schema.encode(sitk.GetArrayFromImage(label_map), labels))
        classes.CopyInformation(label_map)
        return self.bundle.grid.sample_labels(classes, space.placement)

    def _atlas_labels(self, space: PlacedScan) -> np.ndarray | None:
        try:
            index = find_atlas(self.bundle, space.path)
        except InputError:
            return None
        alike = np.corrcoef(self.bundle.atlas_images[index].ravel(), space.image.ravel())[0, 1] > _SAME_SCAN
        return self.bundle.atlas_labels[index] if alike else None  # names such as "scan" are given twice

    def tell(self, note: str) -> None:
        """Takes a sentence into the notes and the log."""
        self.notes.append(note)
        log.info("%s", note)


def _size(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _lattice(grid) -> str:
    return f"{_size(grid.size)} voxels of {' x '.join(f'{edge:.3g}' for edge in grid.spacing)} mm"
