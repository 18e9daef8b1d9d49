"""What the method generates, as files to look at: sample, displacement field, Jacobian determinant, figures."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import realpath
from pathlib import Path

from .device import choose_device
from .errors import InputError
from .inspector_files import FILES
from .inspector_output import physical_frame, write_sample
from .inspector_sample import SamplePath
from .inspector_scans import ScanPlacer, find_atlas
from .model import ModelBundle
from .model_description import MODEL_FILE
from .study import Study
from .trained_model import checkpoint_model

MOST_SAMPLES = 100  # on one sheet
LARGEST_SEED = 2**62
LARGEST_SHARE = 100  # alpha, beta, either sign


@dataclass(frozen=True)
class Inspection:
    """What is to be generated, and from what.

    Attributes:
        model: folder of the model bundle; of a training that has a checkpoint only, too.
        atlas: name of one of its atlases, or a file of that name.
        style: scan whose style is taken.
        space: scan whose shape is taken.
        output: folder for ``FILES``.
        alpha: share of the deformation.
        beta: share of the style change.
        device: as for :func:`brbs.device.choose_device`.
        space_labels: label map of the space scan to compare with; None: if that scan is an atlas of the model, its own.
        checkpoint: take the networks of the training's last checkpoint although there is a model.
        samples: number of samples of the same atlas and scans to draw as published, 0 to ``MOST_SAMPLES``.
        seed: of these draws.
        study: folder of the study that atlas and scans must belong to; None: they may come from anywhere.
    """

    model: Path
    atlas: str | Path
    style: Path
    space: Path
    output: Path
    alpha: float = 1.0
    beta: float = 1.0
    device: str = "auto"
    space_labels: Path | None = None
    checkpoint: bool = False
    samples: int = 0
    seed: int = 0
    study: Path | None = None

    def check(self) -> None:
        """Refuses what is wrong whatever the files hold.

        Raises:
            InputError: a number beyond what can be computed, too many samples; an output file that is one of the scans.
        """
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not abs(value) <= LARGEST_SHARE:
                raise InputError(f"--{name} {value}: must be a number up to {LARGEST_SHARE}, usually 0 to 1")
        if not 0 <= self.samples <= MOST_SAMPLES:
            raise InputError(f"--samples {self.samples}: must be 0 to {MOST_SAMPLES}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise InputError(f"--seed {self.seed}: must be 0 to {LARGEST_SEED}")
        for file in filter(None, (self.style, self.space, self.space_labels)):
            if realpath(file) in {realpath(self.output / name) for name in FILES}:
                raise InputError(f"{file}: would be overwritten; choose another --output")


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
      before and after the whole. Where a label map of the space scan is known, "dice" of the atlas's label map by
      structure, likewise. "notes": sentences on what was done to scans, and on the networks. "samples": alpha and beta
      of the samples on the sheet.
    - ``samples.png``: a sheet of samples drawn as published; only if any were asked for.

    Returns:
        The files written.

    Raises:
        InputError: neither model nor checkpoint, no such atlas, no registration network; an unreadable scan or label
            map, or one that is not in the study; a number that is not finite; an output file that cannot be written or
            is one of the scans.
    """
    inspection.check()
    if inspection.study is not None:
        check_in_study(inspection, inspection.study)
    bundle, note = _model(inspection)
    if bundle.registration is None:
        remedy = "train it with BRBS or import Reger weights too"
        raise InputError(f"{inspection.model}: has no registration network; {remedy}")
    index = find_atlas(bundle, inspection.atlas, inspection.model)
    device = choose_device(inspection.device)
    placer = ScanPlacer(bundle)
    if note:
        placer.tell(note)
    if bundle.provenance.get("registration_steps") == 0:
        placer.tell("the registration network has not been trained yet; its deformations mean nothing")
    style, space = placer.place(inspection.style), placer.place(inspection.space)
    reference = placer.reference(space, inspection.space_labels)
    path = SamplePath(bundle, index, style.image, space.image, device)
    sample = path.sample(inspection.alpha, inspection.beta)
    sample.figures |= path.overlap(reference) if reference is not None else {}
    sample.figures |= {"model": str(inspection.model), "atlas": bundle.provenance["atlases"][index]}
    sample.figures |= {"style": str(inspection.style), "space": str(inspection.space), "notes": placer.notes}
    draws = path.draws(inspection.samples, inspection.seed)
    sample.figures["samples"] = [{"alpha": draw.alpha, "beta": draw.beta} for draw in draws]
    frame = physical_frame(bundle.grid, space.placement)
    return write_sample(sample, draws, bundle.schema, frame, inspection.output)


def check_in_study(inspection: Inspection, folder: Path) -> None:
    """Refuses atlases and scans of other studies.

    Args:
        inspection: its atlas must be an atlas of the study, by name or file, its scans any of the study's scans.
        folder: of the study.

    Raises:
        InputError: one that is not in the study; the study cannot be read.
    """
    study = Study.load(folder)
    atlases = {realpath(atlas.image) for atlas in study.atlases}
    scans = atlases | {realpath(path) for path in [*study.unlabeled, *(pair.image for pair in study.validation)]}
    named = str(inspection.atlas) in [atlas.name for atlas in study.atlases]
    strangers = [] if named or realpath(inspection.atlas) in atlases else [inspection.atlas]
    strangers += [scan for scan in (inspection.style, inspection.space) if realpath(scan) not in scans]
    if strangers:
        raise InputError(f"{strangers[0]}: is not in the study {folder}; add it there or choose one of its scans")


def _model(inspection: Inspection) -> tuple[ModelBundle, str]:
    """The model, or what its training's last checkpoint holds; and what is to be said of that."""
    if (inspection.model / MODEL_FILE).is_file() and not inspection.checkpoint:
        return ModelBundle.load(inspection.model), ""
    bundle = checkpoint_model(inspection.model)
    return bundle, f"networks of the training's last checkpoint, step {bundle.provenance['step']}"
