"""What the commands of ``python -m brbs`` do beside training, one function each; torch is imported on use."""

from __future__ import annotations

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from . import device_report
from .bundle_file import check_bundle, export_bundle, import_bundle
from .checks import check_study
from .errors import InputError
from .job import JobWriter, telling_the_queue
from .model_description import model_identity, read_description
from .model_folder import check_model_folder
from .progress_bar import progress_bar
from .ranking import RANKING_FILE
from .ranking import rank as ranked
from .result_table import FAILED, ResultTable
from .scan_files import check_not_scans, folder_scans, is_folder_of_scans, label_map_files, listed_scans
from .study import Study
from .volumes import check_writable_suffix

if TYPE_CHECKING:
    from .segmentation_job import SegmentationJob

log = logging.getLogger("brbs")


def segment(arguments: argparse.Namespace) -> int:
    """Segments one scan, a folder of scans or a list of them with one model.

    Returns:
        0, or 2 when some scans of several could not be segmented (the others are).
    """
    with telling_the_queue(arguments.job) if arguments.job else nullcontext():
        return _segment(arguments)


def _segment(arguments: argparse.Namespace) -> int:
    pairs = _scans_and_label_maps(arguments)
    check_bundle(arguments.model)
    if arguments.skip_finished and not arguments.table:
        raise InputError("--skip-finished: needs --table, which tells what is finished")
    structures = [label["name"] for label in read_description(arguments.model)["labels"]]
    table = ResultTable(arguments.table, structures) if arguments.table else None
    from .device import choose_device, keep_freed_memory
    from .segmentation_job import SegmentationJob, Segmenter

    choose_device(arguments.device)  # refuses one that is not there, before anything is done
    keep_freed_memory()
    options = {
        "device": arguments.device,
        "confidence": bool(arguments.table or arguments.job),
        "probabilities": arguments.probabilities,
        "largest_component": arguments.largest_component,
    }
    scans = [SegmentationJob(Path(arguments.model), scan, target, **options) for scan, target in pairs]
    if len(scans) > 1 or arguments.table or arguments.job:
        return _segment_many(scans, table, arguments)
    Segmenter().run(scans[0])
    log.info("%s -> %s", *pairs[0])
    return 0


def _segment_many(scans: list[SegmentationJob], table: ResultTable | None, arguments: argparse.Namespace) -> int:
    from .batch import Batch

    identity = model_identity(arguments.model)
    description = {"model": str(scans[0].model), "scans": len(scans), "table": arguments.table}
    with JobWriter(arguments.job, **description) if arguments.job else nullcontext() as watcher:
        batch = Batch(scans, identity, table, arguments.skip_finished, watcher)
        complete = batch.run()
        if watcher is not None:
            watcher.update(state="finished", message=batch.summary if complete else f"stopped: {batch.summary}")
    log.log(logging.WARNING if batch.counts[FAILED] else logging.INFO, "%s", batch.summary)
    return 2 if batch.counts[FAILED] else 0


def _scans_and_label_maps(arguments: argparse.Namespace) -> list[tuple[Path, Path]]:
    output = Path(arguments.output)
    if bool(arguments.input) == bool(arguments.list):
        raise InputError("give either --input or --list")
    if arguments.list:
        return label_map_files(listed_scans(arguments.list), output, arguments.format)
    source = Path(arguments.input)
    if is_folder_of_scans(source):
        return label_map_files(folder_scans(source, arguments.pattern), output, arguments.format)
    if output.is_dir() or not output.suffix:
        return label_map_files([source], output, arguments.format)
    if arguments.format:
        raise InputError(f"--format {arguments.format}: --output names a file and so its format; leave one of them out")
    check_writable_suffix(output)
    check_not_scans([(source, output)])
    return [(source, output)]


def rank(arguments: argparse.Namespace) -> None:
    """Ranks a study's unlabeled scans, those first that a further annotation helps most."""
    from .device import choose_device, keep_freed_memory

    study = Study.load(arguments.study)
    if not study.unlabeled:
        raise InputError(f"{arguments.study}: the study has no unlabeled scans to be ranked")
    choose_device(arguments.device)  # refuses one that is not there
    keep_freed_memory()
    path = Path(arguments.output or Path(arguments.study) / RANKING_FILE)
    with progress_bar() as show:
        ranking = ranked(Path(arguments.model), study.unlabeled, path, arguments.device, show)
    for item in ranking.scans:
        by_structure = ", ".join(f"{name} {value:.2f}" for name, value in item.confidence.items())
        print(f"{item.mean:.2f}" if item.confidence else "  - ", item.scan, by_structure or item.message, sep="\t")
    log.info("least confident first: %s", path)


def evaluate(arguments: argparse.Namespace) -> None:
    """Compares label maps with references; table, JSON and figure go to ``--output``."""
    from .report import evaluate_folders, format_summary

    summary = evaluate_folders(arguments.prediction, arguments.reference, arguments.output, arguments.images)
    print(format_summary(summary))
    log.info("report: %s", arguments.output)


def warp(arguments: argparse.Namespace) -> None:
    """Generates one sample of the training's kind from an atlas and two scans."""
    from .inspector import Inspection, inspect

    inspection = Inspection(
        model=Path(arguments.model),
        atlas=arguments.atlas,
        style=Path(arguments.style),
        space=Path(arguments.space),
        output=Path(arguments.output),
        alpha=arguments.alpha,
        beta=arguments.beta,
        device=arguments.device,
        space_labels=Path(arguments.space_labels) if arguments.space_labels else None,
        checkpoint=arguments.checkpoint,
        samples=arguments.samples,
        seed=arguments.seed,
        study=Path(arguments.study) if arguments.study else None,
    )
    for path in inspect(inspection):
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
