"""Files of a generated sample: images, label maps and the displacement field in one physical space.

That space is that of the space scan where its placement is rigid, else the frame of the working grid.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from . import inspector_files as names
from .alignment import split_affine
from .errors import InputError
from .files import replacing, write_json
from .grid import WorkingGrid
from .inspector_sample import Draw, Sample
from .label_schema import LabelSchema
from .volumes import write_image, write_label_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("brbs")

_RIGID = 1e-5  # largest deviation of direction cosines from orthonormal ones


# Physical space


def physical_frame(grid: WorkingGrid, placement: sitk.Transform) -> sitk.Image:
    """An empty image on the working grid, over the scan if its placement is rigid, else left in the grid frame."""
    frame = grid.image(np.zeros(grid.shape, np.uint8))
    matrix, _ = split_affine(placement)
    if np.abs(matrix.T @ matrix - np.eye(3)).max() > _RIGID:
        log.info("the space scan is placed by an affine transform: files are written in the frame of the working grid")
        return frame
    frame.SetOrigin(placement.TransformPoint(grid.origin))
    frame.SetDirection(matrix.ravel().tolist())
    return frame


def displacement_transform(
    flow: np.ndarray, frame: sitk.Image, scales: Sequence[int] = (1, 1, 1)
) -> sitk.DisplacementFieldTransform:
    """A displacement field in voxels as a transform of ITK, on the grid that R computes it on.

    ITK's linear interpolation of the coarse grid is the engine's own way to full resolution (:func:`brbs.steps.finer`);
    beyond the outermost cell centres the engine continues the last cell, so that one more is put around.

    Args:
        flow: (3, d, h, w) in voxels of its grid, (D, H, W) order, pull-back.
        frame: image on the working grid, which tells where in space that lies.
        scales: how many voxels of ``frame`` make a cell of the field's grid along (D, H, W).

    Returns:
        Maps points of the fixed grid to points of the moving image, LPS mm; identity away from the grid.
    """
    around = [0 if scale == 1 else 1 for scale in scales]
    flow = np.pad(flow, [(0, 0), *zip(around, around)], mode="edge")
    spacing = np.array(scales[::-1]) * frame.GetSpacing()
    steps = np.moveaxis(flow[::-1], 0, -1).astype(np.float64) * spacing
    field = sitk.GetImageFromArray(steps @ np.reshape(frame.GetDirection(), (3, 3)).T, isVector=True)
    # centre of the field's first cell, in voxels of the frame
    first = [(scale - 1) / 2 - margin * scale for scale, margin in zip(scales, around)]
    field.SetOrigin(frame.TransformContinuousIndexToPhysicalPoint(first[::-1]))
    field.SetSpacing(spacing.tolist())
    field.SetDirection(frame.GetDirection())
    return sitk.DisplacementFieldTransform(field)


# Files


def write_sample(
    sample: Sample, draws: Sequence[Draw], schema: LabelSchema, frame: sitk.Image, output: Path
) -> list[Path]:
    """Writes ``FILES``, and ``SAMPLES`` if there are draws: all of them or none.

    Raises:
        InputError: the folder cannot be written.
    """

    def image(array: np.ndarray) -> Callable[[Path], None]:
        return lambda path: write_image(_on(frame, array.astype(np.float32, copy=False)), path)

    def labels(classes: np.ndarray) -> Callable[[Path], None]:
        return lambda path: write_label_map(_on(frame, schema.decode(classes)), path, schema.meta)

    spacing = frame.GetSpacing()
    writers = {
        names.GENERATED: image(sample.generated_image),
        names.GENERATED_LABELS: labels(sample.generated_labels),
        names.ATLAS: image(sample.atlas_image),
        names.ATLAS_LABELS: labels(sample.atlas_labels),
        names.STYLE_LABELS: labels(sample.style_labels),
        names.STYLE_SWITCH: image(sample.style_switch),
        names.STYLE_DIFFERENCE: image(sample.style_difference),
        names.SPACE: image(sample.space_image),
        names.DISPLACEMENT: lambda path: _write_transform(
            displacement_transform(sample.coarse_flow, frame, sample.scales), path
        ),
        names.JACOBIAN: image(sample.jacobian),
        names.FIGURES: lambda path: write_json(path, sample.figures),
        names.CONTACT_SHEET: lambda path: _write_contact_sheet(sample, schema, spacing, path),
    }
    if draws:
        writers[names.SAMPLES] = lambda path: _write_sample_sheet(draws, schema, spacing, path)
    aside = output / f".partial-{os.getpid()}"
    try:
        for name, write in writers.items():
            write(aside / name)
        for name in writers:
            with replacing(output / name) as temporary:
                os.replace(aside / name, temporary)
    except InputError as error:
        raise InputError(str(error).replace(str(aside), str(output))) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if not draws:
        (output / names.SAMPLES).unlink(missing_ok=True)  # of an earlier call
    return [output / name for name in writers]


def _on(frame: sitk.Image, array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(frame)
    return image


def _write_transform(transform: sitk.Transform, path: Path) -> None:
    with replacing(path) as temporary:
        try:
            sitk.WriteTransform(transform, str(temporary))
        except RuntimeError as error:
            raise OSError("writing stopped before the end") from error


def _write_contact_sheet(sample: Sample, schema: LabelSchema, spacing: tuple[float, ...], path: Path) -> None:
    from .inspector_figure import contact_sheet  # Matplotlib takes long to import

    _write_figure(contact_sheet(sample, schema, spacing), path)


def _write_sample_sheet(draws: Sequence[Draw], schema: LabelSchema, spacing: tuple[float, ...], path: Path) -> None:
    from .inspector_figure import sample_sheet

    _write_figure(sample_sheet(draws, schema, spacing), path)


def _write_figure(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor="white")
