"""What the commands of ``python -m brbs`` do beside training, one function each; torch is imported on use."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path

import SimpleITK as sitk

from . import device_report
from .bundle_file import export_bundle, import_bundle
from .checks import check_study
from .errors import InputError
from .model_folder import check_model_folder
from .progress_bar import progress_bar
from .study import LabelSchema
from .volumes import (
    bare_name,
    check_writable_suffix,
    image_suffix,
    is_dicom_folder,
    list_images,
    read_image,
    write_image,
    write_label_map,
)

log = logging.getLogger("brbs")


def segment(arguments: argparse.Namespace) -> int:
    """Segments one scan or a folder of scans with one model.

    Returns:
        0, or 2 when some scans of a folder could not be segmented (the others are).
    """
    source, output = Path(arguments.input), Path(arguments.output)
    jobs = _segmentation_jobs(source, output)
    from .device import choose_device, keep_freed_memory
    from .model import ModelBundle
    from .predictor import Predictor

    device = choose_device(arguments.device)
    predictor = Predictor(ModelBundle.load(arguments.model), device)
    keep_freed_memory()
    failed = 0
    for path, target in jobs:
        try:
            image = read_image(path)
            found = predictor.segment(image, arguments.probabilities, arguments.largest_component)
            write_label_map(found.labels, target, predictor.schema.meta)
            _write_probabilities(found.probabilities or [], target, predictor.schema)
            log.info("%s -> %s", path, target)
        except InputError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            log.error("%s", error)
    if failed:
        log.error("%d of %d scans could not be segmented", failed, len(jobs))
    return 2 if failed else 0


def _write_probabilities(probabilities: list[sitk.Image], target: Path, schema: LabelSchema) -> None:
    """Writes an image a class beside the label map, named by label value and structure."""
    names = ["0_background", *(f"{label.value}_{label.name}" for label in schema.labels)]
    for name, probability in zip(names, probabilities, strict=False):
        safe = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name)
        write_image(probability, target.with_name(f"{bare_name(target)}_probability_{safe}.nii.gz"))


def _segmentation_jobs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Pairs of scan and label map to be written."""
    if source.is_dir() and not is_dicom_folder(source):
        scans = list_images(source)
        if not scans:
            raise InputError(f"{source}: no scans here")
        if image_suffix(output):
            raise InputError(f"{output}: is a file name, but --input is a folder; give a folder")
        jobs = [(scan, output / f"{bare_name(scan)}{_suffix_like(scan)}") for scan in scans]
    elif output.is_dir() or not output.suffix:
        jobs = [(source, output / f"{bare_name(source)}{_suffix_like(source)}")]
    else:
        check_writable_suffix(output)
        jobs = [(source, output)]
    if len({target for _, target in jobs}) < len(jobs):
        raise InputError(f"{source}: two scans would give the same label map; give them different names")
    for scan, target in jobs:
        if scan.resolve() == target.resolve():
            raise InputError(f"{target}: would overwrite the scan itself; choose another --output")
    return jobs


def _suffix_like(scan: Path) -> str:
    try:
        return check_writable_suffix(scan)
    except InputError:
        return ".nii.gz"


def evaluate(arguments: argparse.Namespace) -> None:
    """Compares label maps with references; table, JSON and figure go to ``--output``."""
    from .report import evaluate_folders, format_summary

    summary = evaluate_folders(arguments.prediction, arguments.reference, arguments.output, arguments.images)
    print(format_summary(summary))
    log.info("report: %s", arguments.output)


def warp(arguments: argparse.Namespace) -> None:
    """Generates one sample of the training's kind from an atlas and two scans."""
    from .inspector import inspect

    for path in inspect(
        Path(arguments.model),
        Path(arguments.atlas),
        Path(arguments.style),
        Path(arguments.space),
        arguments.alpha,
        arguments.beta,
        Path(arguments.output),
        arguments.device,
    ):
        log.info("wrote %s", path)


def worker(arguments: argparse.Namespace) -> None:
    """Serves requests until it is no longer needed."""
    from .worker import Worker

    Worker(Path(arguments.folder), arguments.idle_minutes, arguments.parent).run()


def import_weights(arguments: argparse.Namespace) -> None:
    """Makes a model of the original release's checkpoints."""
    from .release_weights import import_release

    output = Path(arguments.output)
    check_model_folder(output, overwrite=arguments.overwrite)
    bundle = import_release(
        arguments.segmentation, arguments.registration, arguments.size, arguments.spacing, arguments.window
    )
    bundle.save(output)
    log.info("model: %s", output)


def export_model(arguments: argparse.Namespace) -> None:
    """Writes a model to one file."""
    export_bundle(arguments.model, arguments.output)
    log.info("model file: %s", arguments.output)


def import_model(arguments: argparse.Namespace) -> None:
    """Unpacks a model of a file into a new folder."""
    log.info("model: %s", import_bundle(arguments.input, arguments.output))


def demo(arguments: argparse.Namespace) -> None:
    """Makes a synthetic study, trains, segments, evaluates and draws figures."""
    from .demo import run_demo

    run_demo(Path(arguments.output), arguments.device)


def check(arguments: argparse.Namespace) -> None:
    """Looks at what is new or has changed in a study and tells of every scan or label map that deserves attention."""
    with progress_bar() as show:
        items = check_study(arguments.study, show)
    for item in items:
        if item.message:
            log.warning("%s: %s", item.status, item.message)
    log.info("%d of %d can be used", sum(item.usable for item in items), len(items))


def devices(_: argparse.Namespace) -> None:
    """Prints what this Python offers to the engine, as ``python -m brbs.device_report`` does where packages lack."""
    device_report.main()
