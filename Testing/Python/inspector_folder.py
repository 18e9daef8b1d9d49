"""A folder as ``brbs warp`` writes it, made up without networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from brbs import inspector_files as files
from brbs.files import write_json
from brbs.volumes import write_image, write_label_map

METAS = [(3, "Hülle", (0.9, 0.6, 0.2), ""), (7, "Kern", (0.2, 0.5, 0.9), "")]
SPACING, ORIGIN = (1.0, 1.25, 2.0), (-31.0, 12.5, 190.0)
DIRECTION = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.4, 0.5).GetMatrix()  # oblique
FIGURES = {
    "alpha": 1.0,
    "beta": 0.5,
    "lncc": {"before": 0.21, "after": 0.48},
    "dice": {"before": {"Hülle": 0.51, "Kern": 0.38}, "after": {"Hülle": 0.83, "Kern": 0.71}},
    "folded_fraction": {
        "whole": {"all": 0.0012, "structures": {"Hülle": 0.0, "Kern": 0.004}},
        "sample": {"all": 0.0012, "structures": {"Hülle": 0.0, "Kern": None}},
    },
    "samples": [{"alpha": 0.03, "beta": 0.98}, {"alpha": 0.71, "beta": 0.12}, {"alpha": 1.0, "beta": 0.4}],
    "notes": ["style.nii.gz: resampled from 64 x 64 x 40 voxels onto the model's 24 x 20 x 16 voxels"],
}


def write_folder(
    folder: Path, shape: tuple[int, int, int] = (16, 20, 24), grid: int = 12, strength: float = 3.0
) -> Path:
    """Writes a complete folder.

    Args:
        folder: is made.
        shape: (D, H, W) of the volumes.
        grid: cells along each axis of the displacement field, which covers the volumes and a cell more on each side.
        strength: of the smooth displacement, mm.
    """
    generator = np.random.default_rng(0)
    frame = _frame(shape, SPACING, ORIGIN)
    depth, height, width = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = np.sqrt(depth**2 + height**2 + width**2)
    labels = np.where(radius < 0.4, 7, np.where(radius < 0.8, 3, 0)).astype(np.uint8)
    style_labels = np.where(radius < 0.6, 7, 0).astype(np.uint8)
    atlas = (0.2 + 0.1 * labels / 3.5 + 0.1 * generator.random(shape)).astype(np.float32)
    images = {
        files.ATLAS: atlas,
        files.STYLE_SWITCH: np.where(style_labels == labels, 2.0, 0.5).astype(np.float32),
        files.STYLE_DIFFERENCE: (0.3 * generator.random(shape) - 0.1).astype(np.float32),
        files.SPACE: atlas[::-1, ::-1, ::-1],
        files.JACOBIAN: (1 + 0.5 * width).astype(np.float32),
        files.GENERATED: atlas,
    }
    for name, array in images.items():
        write_image(_on(frame, array), folder / name)
    for name, array in ((files.ATLAS_LABELS, labels), (files.STYLE_LABELS, style_labels)):
        write_label_map(_on(frame, array), folder / name, METAS)
    _write_displacement(folder / files.DISPLACEMENT, frame, grid, strength)
    write_json(folder / files.FIGURES, FIGURES)
    for name in (files.CONTACT_SHEET, files.SAMPLES):
        (folder / name).write_bytes(b"\x89PNG made up")
    return folder


def _write_displacement(path: Path, frame: sitk.Image, cells: int, strength: float) -> None:
    extents = np.multiply(frame.GetSize(), frame.GetSpacing())
    spacing = extents / cells
    corner = np.array(frame.TransformContinuousIndexToPhysicalPoint([-0.5] * 3))
    direction = np.reshape(frame.GetDirection(), (3, 3))
    origin = corner + direction @ (-0.5 * spacing)
    places = np.meshgrid(*(np.linspace(0, 2 * np.pi, cells + 2),) * 3, indexing="ij")
    array = strength * np.stack([np.sin(places[(axis + 1) % 3]) * np.cos(places[axis]) for axis in range(3)], axis=-1)
    field = sitk.GetImageFromArray(array, isVector=True)
    field.SetSpacing(spacing.tolist())
    field.SetOrigin(origin.tolist())
    field.SetDirection(frame.GetDirection())
    sitk.WriteTransform(sitk.DisplacementFieldTransform(field), str(path))


def _frame(shape: tuple[int, int, int], spacing, origin) -> sitk.Image:
    frame = sitk.Image(shape[::-1], sitk.sitkUInt8)
    frame.SetSpacing(spacing)
    frame.SetOrigin(origin)
    frame.SetDirection(DIRECTION)
    return frame


def _on(frame: sitk.Image, array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.CopyInformation(frame)
    return image
