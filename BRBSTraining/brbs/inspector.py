"""What the method generates, as files to look at: sample, displacement field, Jacobian determinant, figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .device import choose_device
from .errors import InputError
from .inspector_files import FILES
from .inspector_output import physical_frame, write_sample
from .inspector_sample import SamplePath
from .model import ModelBundle
from .volumes import bare_name, read_image


@dataclass(frozen=True)
class Inspection:
    """What is to be generated, and from what.

    Attributes:
        model: folder of the model bundle.
        atlas: name of one of its atlases, or a file of that name.
        style: scan whose style is taken.
        space: scan whose shape is taken.
        output: folder for ``FILES``.
        alpha: share of the deformation.
        beta: share of the style change.
        device: as for :func:`brbs.device.choose_device`.
    """

    model: Path
    atlas: str | Path
    style: Path
    space: Path
    output: Path
    alpha: float = 1.0
    beta: float = 1.0
    device: str = "auto"

    def check(self) -> None:
        """Refuses what is wrong whatever the files hold.

        Raises:
            InputError: a number that is not finite; an output file that is one of the scans.
        """
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not math.isfinite(value):
                raise InputError(f"--{name} {value}: must be a finite number, usually 0 to 1")
        for scan in (self.style, self.space):
            if scan.resolve() in {(self.output / name).resolve() for name in FILES}:
                raise InputError(f"{scan}: would be overwritten; choose another --output")


def inspect(inspection: Inspection) -> list[Path]:
    """Generates one sample as the model's training does (alpha, beta given, not drawn) with all that led to it.

    The files of an earlier call are replaced once the new ones are complete. Among them are:

    - ``generated.nrrd``, ``generated.seg.nrrd``: the sample, see :class:`SamplePath` for how it is made.
    - ``atlas.nrrd``, ``atlas.seg.nrrd``, ``style_difference.nrrd``, ``style_switch.nrrd``, ``style.seg.nrrd``: what
      makes other samples without the networks. Over the atlas, the image is atlas + beta difference, and its label map
      that of style where beta > switch, else that of the atlas; both are then warped by alpha times the transform.
    - ``displacement.h5``: ITK displacement field transform (points of the fixed grid to moving, LPS mm) of the whole
      deformation, on the grid that R computes it on; ``jacobian.nrrd`` is its determinant.
    - ``figures.json``: for the whole deformation and for the share in the sample, the fraction of folded voxels
      (determinant <= 0) overall and per structure (null: nothing left of it), and the LNCC of atlas and space scan
      before and after the whole.

    Returns:
        The files written.

    Raises:
        InputError: no model, no such atlas, no registration network; an unreadable scan; a number that is not finite;
            an output file that cannot be written or is one of the scans.
    """
    inspection.check()
    bundle = ModelBundle.load(inspection.model)
    if bundle.registration is None:
        remedy = "train it with BRBS or import Reger weights too"
        raise InputError(f"{inspection.model}: has no registration network; {remedy}")
    index = find_atlas(bundle, inspection.atlas, inspection.model)
    device = choose_device(inspection.device)
    (style, _), (space, placement) = (_placed(bundle, path) for path in (inspection.style, inspection.space))
    sample = SamplePath(bundle, index, style, space, device).sample(inspection.alpha, inspection.beta)
    sample.figures |= {"model": str(inspection.model), "atlas": bundle.provenance["atlases"][index]}
    sample.figures |= {"style": str(inspection.style), "space": str(inspection.space)}
    return write_sample(sample, bundle.schema, physical_frame(bundle.grid, placement), inspection.output)


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
