"""What the method generates, as files to look at: sample, displacement field, Jacobian determinant, figures.

All arrays are (D, H, W) on the model's working grid. All files share one physical space: that of the *space* scan
where its placement is rigid, else the frame of the working grid.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor

from .alignment import split_affine
from .device import choose_device, memory_format
from .errors import InputError
from .files import replacing, write_json
from .generation import space_style_sample
from .grid import WorkingGrid
from .inspector_files import FILES
from .losses import lncc
from .model import ModelBundle
from .steps import displacement
from .study import LabelSchema
from .volumes import bare_name, read_image, write_image, write_label_map
from .warp import jacobian_determinant, warp

log = logging.getLogger("brbs")

_RIGID = 1e-5  # largest deviation of direction cosines from orthonormal ones


@dataclass
class Sample:
    """One generated sample and what it was made from; images float32 in [0, 1], labels uint8 class indices.

    Attributes:
        atlas_image, atlas_labels: x_l and y_l.
        style_image: the scan whose style is taken, x_u.
        space_image: the scan whose shape is taken.
        style_difference: x_ul - x_l, with x_ul the style scan warped to the atlas; lies over the atlas.
        flow: (3, D, H, W) displacement atlas -> space scan in voxels, (D, H, W) order, pull-back: the whole of it.
        jacobian: its determinant.
        generated_image: warp(x_l + beta (x_ul - x_l), alpha flow).
        generated_labels: warp(y_l, alpha flow).
        figures: alpha, beta, LNCC and folding as JSON values, see :func:`inspect`.
    """

    atlas_image: np.ndarray
    atlas_labels: np.ndarray
    style_image: np.ndarray
    space_image: np.ndarray
    style_difference: np.ndarray
    flow: np.ndarray
    jacobian: np.ndarray
    generated_image: np.ndarray
    generated_labels: np.ndarray
    figures: dict[str, Any]


def inspect(
    model: Path, atlas: Path, style: Path, space: Path, alpha: float, beta: float, output: Path, device: str
) -> list[Path]:
    """Generates one sample by S3P (alpha, beta given instead of drawn) and writes it with all that led to it.

    Args:
        model: folder of the model bundle.
        atlas: name of one of its atlases, or a file of that name.
        style: scan whose style is taken.
        space: scan whose shape is taken.
        alpha: share of the deformation, beta: share of the style change.
        output: folder for ``FILES``; those of an earlier call are replaced once the new ones are complete.
            ``displacement.h5`` is an ITK displacement field transform (points of the fixed grid to moving, LPS mm) of
            the whole deformation, and ``jacobian.nrrd`` its determinant. ``figures.json`` has, for the whole
            deformation and for the share in the sample, the fraction of folded voxels (determinant <= 0) overall and
            per structure (null: nothing left of it), and the LNCC of atlas and space scan before and after the whole.
        device: as for :func:`brbs.device.choose_device`.

    Returns:
        The files written.

    Raises:
        InputError: no model, no such atlas, no registration network; an unreadable scan; a number that is not finite;
            an output file that cannot be written or is one of the scans.
    """
    model, output = Path(model), Path(output)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not math.isfinite(value):
            raise InputError(f"--{name} {value}: must be a finite number, usually 0 to 1")
    for scan in (Path(style), Path(space)):
        if scan.resolve() in {(output / name).resolve() for name in FILES}:
            raise InputError(f"{scan}: would be overwritten; choose another --output")
    bundle = ModelBundle.load(model)
    if bundle.registration is None:
        raise InputError(f"{model}: has no registration network; train it with BRBS or import Reger weights too")
    index = find_atlas(bundle, atlas, model)
    chosen = choose_device(device)
    placed = [_placed(bundle, Path(path)) for path in (style, space)]
    sample = generate(bundle, index, placed[0][0], placed[1][0], alpha, beta, chosen)
    sample.figures |= {"model": str(model), "atlas": bundle.provenance["atlases"][index]}
    sample.figures |= {"style": str(style), "space": str(space)}
    return write_sample(sample, bundle.schema, physical_frame(bundle.grid, placed[1][1]), output)


def find_atlas(bundle: ModelBundle, atlas: str | Path, model: str | Path = "model") -> int:
    """Index of the atlas of that name, or of the name of that file.

    Raises:
        InputError: the model, called ``model`` in the message, has no such atlas; the message lists those it has.
    """
    names = bundle.provenance.get("atlases", [])
    if not (names and len(bundle.atlas_images)):
        raise InputError(f"{model}: holds no atlases, so nothing can be generated from it; train it with BRBS")
    for name in (str(atlas), bare_name(atlas)):
        if name in names:
            return names.index(name)
    raise InputError(f"{atlas}: is no atlas of {model}; there are: {', '.join(names)}")


def _placed(bundle: ModelBundle, path: Path) -> tuple[np.ndarray, sitk.Transform]:
    """A scan on the working grid, and its placement."""
    image = read_image(path)
    placement = bundle.grid.place(image, bundle.reference)
    return bundle.grid.sample_image(image, placement), placement


# Generation


@torch.no_grad()
def generate(
    bundle: ModelBundle,
    index: int,
    style_image: np.ndarray,
    space_image: np.ndarray,
    alpha: float,
    beta: float,
    device: torch.device,
) -> Sample:
    """S3P on one atlas and two scans on the working grid, networks in float32.

    Args:
        bundle: the model.
        index: of the atlas.
        style_image, space_image: (D, H, W) in [0, 1].
        alpha, beta: shares of deformation and style change.
        device: where to compute.
    """
    registration = bundle.registration_net().to(device, memory_format=memory_format(device))
    scale = bundle.settings.registration_scale
    atlas_image, style, space = (
        torch.as_tensor(array, dtype=torch.float32, device=device)[None, None]
        for array in (bundle.atlas_images[index], style_image, space_image)
    )
    classes = torch.as_tensor(bundle.atlas_labels[index], device=device).long()[None]
    onehot = F.one_hot(classes, bundle.schema.class_count).movedim(-1, 1).float()

    flow = displacement(registration, atlas_image, space, scale)
    styled = warp(style, displacement(registration, style, atlas_image, scale))
    generated, labels = space_style_sample(atlas_image, onehot, styled, flow, alpha, beta)
    warped, warped_labels = space_style_sample(atlas_image, onehot, styled, flow, 1.0, 0.0)

    jacobian = jacobian_determinant(flow)
    figures = {
        "alpha": alpha,
        "beta": beta,
        "lncc": {"before": float(lncc(atlas_image, space)), "after": float(lncc(warped, space))},
        "folded_fraction": {
            "whole": _folded(jacobian, warped_labels.argmax(1, keepdim=True), bundle.schema),
            "sample": _folded(jacobian_determinant(alpha * flow), labels.argmax(1, keepdim=True), bundle.schema),
        },
    }
    return Sample(
        atlas_image=_array(atlas_image),
        atlas_labels=bundle.atlas_labels[index],
        style_image=style_image,
        space_image=space_image,
        style_difference=_array(styled - atlas_image),
        flow=flow[0].cpu().numpy(),
        jacobian=_array(jacobian),
        generated_image=_array(generated),
        generated_labels=_array(labels.argmax(1, keepdim=True).to(torch.uint8)),
        figures=figures,
    )


def _array(volume: Tensor) -> np.ndarray:
    return volume[0, 0].cpu().numpy()


def _folded(jacobian: Tensor, classes: Tensor, schema: LabelSchema) -> dict[str, Any]:
    """Fraction of voxels with a determinant of 0 or less, overall and within each structure (None: no voxel)."""
    folded = jacobian <= 0

    def within(mask: Tensor) -> float | None:
        return float(folded[mask].float().mean()) if mask.any() else None

    structures = {label.name: within(classes == i) for i, label in enumerate(schema.labels, start=1)}
    return {"all": float(folded.float().mean()), "structures": structures}


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


def displacement_transform(flow: np.ndarray, frame: sitk.Image) -> sitk.DisplacementFieldTransform:
    """A displacement field in voxels as a transform of ITK.

    Args:
        flow: (3, D, H, W) in voxels of ``frame``, (D, H, W) order, pull-back.
        frame: image whose grid the field lies on.

    Returns:
        Maps points of the fixed grid to points of the moving image, LPS mm; identity outside the grid.
    """
    steps = np.moveaxis(flow[::-1], 0, -1).astype(np.float64) * frame.GetSpacing()
    field = sitk.GetImageFromArray(steps @ np.reshape(frame.GetDirection(), (3, 3)).T, isVector=True)
    field.CopyInformation(frame)
    return sitk.DisplacementFieldTransform(field)


# Files


def write_sample(sample: Sample, schema: LabelSchema, frame: sitk.Image, output: Path) -> list[Path]:
    """Writes ``FILES``, all of them or none.

    Raises:
        InputError: the folder cannot be written.
    """

    def image(array: np.ndarray) -> Callable[[Path], None]:
        return lambda path: write_image(_on(frame, array.astype(np.float32, copy=False)), path)

    def labels(classes: np.ndarray) -> Callable[[Path], None]:
        return lambda path: write_label_map(_on(frame, schema.decode(classes)), path, schema.meta)

    writers = (
        image(sample.generated_image),
        labels(sample.generated_labels),
        image(sample.atlas_image),
        labels(sample.atlas_labels),
        image(sample.style_difference),
        image(sample.space_image),
        lambda path: _write_transform(displacement_transform(sample.flow, frame), path),
        image(sample.jacobian),
        lambda path: write_json(path, sample.figures),
        lambda path: _write_contact_sheet(sample, schema, frame.GetSpacing(), path),
    )
    aside = output / f".partial-{os.getpid()}"
    try:
        for name, write in zip(FILES, writers, strict=True):
            write(aside / name)
        for name in FILES:
            with replacing(output / name) as temporary:
                os.replace(aside / name, temporary)
    except InputError as error:
        raise InputError(str(error).replace(str(aside), str(output))) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [output / name for name in FILES]


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

    with replacing(path) as temporary:
        contact_sheet(sample, schema, spacing).savefig(temporary, format="png", dpi=110, facecolor="white")
