"""What the commands of ``python -m brbs`` do beside training and segmenting; torch is imported on use."""

from __future__ import annotations

import argparse
import logging
import shutil
from pathlib import Path

from . import device_report
from .absence import mean_confidence
from .bundle_file import export_bundle, import_bundle
from .checks import FOUND_UNUSABLE, check_study
from .errors import InputError
from .files import check_replaceable
from .hidden_names import call_study
from .model_folder import TRAINING_FOLDER, check_model_folder
from .model_preview import PREVIEW_FILE
from .progress_bar import progress_bar
from .ranking import RANKING_FILE
from .ranking import rank as ranked
from .study import Study

log = logging.getLogger("brbs")


def rank(arguments: argparse.Namespace) -> None:
    """Ranks a study's unlabeled scans, those first that a further annotation helps most."""
    from .device import choose_device, keep_freed_memory

    study = Study.load(arguments.study)
    call_study(study)
    if not study.unlabeled:
        raise InputError(f"{arguments.study}: the study has no unlabeled scans to be ranked")
    choose_device(arguments.device)  # refuses one that is not there
    path = Path(arguments.output or Path(arguments.study) / RANKING_FILE)
    check_replaceable(path)
    keep_freed_memory()
    with progress_bar() as show:
        ranking = ranked(Path(arguments.model), study.unlabeled, path, arguments.device, show)
    for item in ranking.scans:
        values = {name: "not found" if value is None else f"{value:.2f}" for name, value in item.confidence.items()}
        by_structure = ", ".join(f"{name} {value}" for name, value in values.items())
        mean = mean_confidence(item.confidence)
        print("  - " if mean is None else f"{mean:.2f}", item.scan, by_structure or item.message, sep="\t")
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
    """Makes a model of the original release's checkpoints; an earlier one there goes only when it is made."""
    from .release_weights import import_release

    output = Path(arguments.output)
    check_model_folder(output, overwrite=arguments.overwrite)
    bundle = import_release(
        arguments.segmentation, arguments.registration, arguments.size, arguments.spacing, arguments.window
    )
    bundle.save(output)
    # What is left of the earlier model would be taken for this one's.
    (output / PREVIEW_FILE).unlink(missing_ok=True)
    if (output / TRAINING_FOLDER).is_dir():
        shutil.rmtree(output / TRAINING_FOLDER)
    log.info("model: %s", output)


def export_model(arguments: argparse.Namespace) -> None:
    """Writes a model to one file."""
    if Path(arguments.output).suffix.lower() != ".zip":
        raise InputError(f"{arguments.output}: models are exchanged as zip files; give a name that ends in .zip")
    export_bundle(arguments.model, arguments.output)
    log.info("model file: %s", arguments.output)


def import_model(arguments: argparse.Namespace) -> None:
    """Unpacks a model of a file into a new folder."""
    log.info("model: %s", import_bundle(arguments.input, arguments.output))


def demo(arguments: argparse.Namespace) -> None:
    """Makes a synthetic study, trains, segments, evaluates and draws figures."""
    from .demo import run_demo

    run_demo(Path(arguments.output), arguments.device)


def check(arguments: argparse.Namespace) -> int:
    """Looks at what is new or has changed in a study and tells of every scan or label map that deserves attention."""
    call_study(Study.load(arguments.study))
    with progress_bar() as show:
        items = check_study(arguments.study, show)
    for item in items:
        if item.message:
            log.warning("%s: %s", item.status, item.message)
    usable = sum(item.usable for item in items)
    log.info("%d of %d can be used", usable, len(items))
    return 0 if usable == len(items) else FOUND_UNUSABLE


def devices(_: argparse.Namespace) -> None:
    """Prints what this Python offers to the engine, as ``python -m brbs.device_report`` does where packages lack."""
    device_report.main()
