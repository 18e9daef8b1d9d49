"""A scan from file to label map, with models kept loaded and less of a GPU's memory where it is short."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
import torch

from .absence import told_confidence
from .device import choose_device
from .errors import InputError, memory_was_short, naming
from .files import FORBIDDEN
from .image_files import bare_name
from .label_schema import LabelSchema
from .model import ModelBundle
from .model_description import MODEL_FILE
from .predictor import Predictor, Windows
from .volumes import read_image, write_image, write_label_map

if TYPE_CHECKING:
    from .confidence import Confidence

MOST_MODELS = 2  # kept loaded
NO_CONFIDENCE = "the memory was too small to tell the confidence"

log = logging.getLogger("brbs")


@dataclass(frozen=True)
class SegmentationJob:
    """What is to be done.

    Attributes:
        model: its folder.
        input: the scan.
        output: the label map to be written; None: none, only volumes and confidence are wanted.
        device: as ``--device`` takes it.
        confidence: also tell how much the label map deserves trust.
        uncertainty: file for the uncertainty of each voxel; None: none.
        probabilities: also write an image a class beside the label map.
        components: which connected pieces of structures stay; see :data:`brbs.components.COMPONENTS`.
    """

    model: Path
    input: Path
    output: Path | None
    device: str = "auto"
    confidence: bool = True
    uncertainty: Path | None = None
    probabilities: bool = False
    components: str = "atlases"


@dataclass(frozen=True)
class Result:
    """What has come out.

    Attributes:
        volumes: mL by structure.
        device: on which it was computed.
        message: what people should know of it; "" if nothing.
        confidence: by structure, see :func:`brbs.absence.told_confidence`; None if not asked for, or not yet known.
    """

    volumes: dict[str, float]
    device: str
    message: str = ""
    confidence: dict[str, float | None] | None = None


@dataclass
class LoadedModel:
    """A model ready for scans."""

    bundle: ModelBundle
    predictor: Predictor

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> LoadedModel:
        """Reads a bundle onto a device.

        Raises:
            InputError: no model there, or it is damaged.
        """
        bundle = ModelBundle.load(folder)
        return cls(bundle, Predictor(bundle, device))

    @cached_property
    def confidence(self) -> Confidence:
        """Tells how much a label map deserves trust, and is made when it is first asked for.

        Raises:
            InputError: the registration network is damaged.
        """
        from .confidence import Confidence  # not above: who wants only the label map does not wait for it

        return Confidence(self.bundle, self.predictor.device)


class Segmenter:
    """Does one job after another; the two models used last stay loaded."""

    def __init__(self) -> None:
        self._models: OrderedDict[tuple, LoadedModel] = OrderedDict()

    def run(
        self,
        job: SegmentationJob,
        segmented: Callable[[Result], None] = lambda result: None,
        check: Callable[[], None] = lambda: None,
    ) -> Result:
        """Writes what the job asks for.

        Args:
            job: the job.
            segmented: is told as soon as the label map is there, before the confidence is known.
            check: called often meanwhile; what it raises ends the job.

        Raises:
            InputError: model, scan or device cannot be used, a file cannot be written, or the memory is too small.
        """
        image = read_image(job.input)
        for device, windows, message in _attempts(choose_device(job.device)):
            check()
            try:
                return self._run_on(device, windows, message, job, image, segmented, check)
            except (RuntimeError, MemoryError) as error:
                if not memory_was_short(error):
                    raise
                log.warning("%s: the memory of %s is too small", job.input, device)
            self._free_memory()  # not above: the exception holds on to what the network had computed
        remedy = "close other programs, or resample it to larger voxels"
        raise InputError(f"{job.input}: this computer's memory is too small for this scan; {remedy}")

    def model(self, folder: Path, device: torch.device) -> LoadedModel:
        """The model of a folder, loaded anew when it has changed there.

        Raises:
            InputError: no model there, or it is damaged.
        """
        description = folder / MODEL_FILE
        changed = description.stat().st_mtime_ns if description.is_file() else 0
        key = (str(folder), changed, str(device))
        if key not in self._models:
            self._models[key] = LoadedModel.load(folder, device)
        self._models.move_to_end(key)
        while len(self._models) > MOST_MODELS:
            self._models.popitem(last=False)
        return self._models[key]

    def _run_on(
        self,
        device: torch.device,
        windows: Windows,
        message: str,
        job: SegmentationJob,
        image: sitk.Image,
        segmented: Callable[[Result], None],
        check: Callable[[], None],
    ) -> Result:
        model = self.model(job.model, device)
        schema = model.predictor.schema
        model.predictor.windows = windows
        confidence = model.confidence if job.confidence else None  # first, so that a damaged model writes nothing
        check()
        with naming(job.input):
            found = model.predictor.segment(image, job.probabilities, job.components, check)
        check()
        if job.output is not None:
            write_label_map(found.labels, job.output, schema.meta)
            _write_probabilities(found.probabilities or [], job.output, schema)
        sizes = volumes(found.labels, schema)
        whole = model.bundle.grid.region == "whole"
        missing = [] if whole else [name for name, size in sizes.items() if not size]
        told = [_told_of_pieces(found.pieces_left_out), _told_of_region(found.cut_off, missing)]
        result = Result(sizes, str(device), "; ".join(filter(None, [message, *told])))
        segmented(result)
        if confidence is None:
            return result
        try:
            findings = confidence.findings(image, found, check)
        except (RuntimeError, MemoryError) as error:
            if not memory_was_short(error):
                raise
            log.warning("%s: the memory of %s is too small for the confidence", job.input, device)
            return replace(result, message="; ".join(filter(None, [result.message, NO_CONFIDENCE])))
        if job.uncertainty is not None:
            write_image(findings.uncertainty, job.uncertainty)
        return replace(result, confidence=told_confidence(sizes, findings.confidence, whole))

    def _free_memory(self) -> None:
        self._models.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _attempts(device: torch.device) -> Iterator[tuple[torch.device, Windows, str]]:
    """Device, windows and what to say of it, each needing less of the device's memory than the one before."""
    short = f"the memory of {device} is short; the scan was computed in"
    yield device, Windows(), ""
    yield device, Windows(at_once=1), f"{short} smaller pieces"
    yield device, Windows(at_once=1, sizes=(1.0,)), f"{short} one size, which may be less exact"
    yield device, Windows(at_once=1, divisor=2), f"{short} smaller windows, which may be less exact"
    if device.type != "cpu":
        told = f"the memory of {device} is too small for this scan; the processor was used"
        yield torch.device("cpu"), Windows(), told


def _told_of_pieces(left_out: int) -> str:
    if not left_out:
        return ""
    return "a small stray piece was left out" if left_out == 1 else f"{left_out} small stray pieces were left out"


def _told_of_region(cut_off: Sequence[str], missing: Sequence[str]) -> str:
    """What a model that sees only the surroundings of the atlases' labels may have missed."""
    part = "the part of the scan that the model sees"
    problems = [(cut_off, f"may go on beyond {part}"), (missing, f"not found in {part}")]
    told = [f"{', '.join(names)}: {problem}" for names, problem in problems if names]
    return "; ".join([*told, "if that is wrong, train with the region set to whole"]) if told else ""


def volumes(labels: sitk.Image, schema: LabelSchema) -> dict[str, float]:
    """Volume of each structure of a label map in mL, by name."""
    voxel = float(np.prod(labels.GetSpacing())) / 1000
    values = sitk.GetArrayViewFromImage(labels)
    return {label.name: round(voxel * int(np.count_nonzero(values == label.value)), 6) for label in schema.labels}


def _write_probabilities(probabilities: list[sitk.Image], target: Path, schema: LabelSchema) -> None:
    """Writes an image a class beside the label map, named by label value and structure."""
    names = ["0_background", *(f"{label.value}_{label.name}" for label in schema.labels)]
    for name, probability in zip(names, probabilities, strict=False):
        safe = FORBIDDEN.sub("_", name)
        write_image(probability, target.with_name(f"{bare_name(target)}_probability_{safe}.nii.gz"))
