"""What the commands of ``python -m brbs`` do, one function each; engine parts with torch are imported on use."""

from __future__ import annotations

import argparse
import logging
import math
import shutil
from dataclasses import fields, replace
from pathlib import Path

from .errors import InputError
from .files import read_json
from .job import JOB_FILE, JobReader, JobWriter
from .preparation import Prepared, prepare
from .settings import PRESETS, Settings
from .study import Study
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

DEFAULT_MINUTES = 60.0
TRAINING_FOLDER = "training"
PREPARED_FILE = "prepared.npz"


def train(arguments: argparse.Namespace) -> None:
    """Prepares a study and trains on it until the budget is used; the model grows in ``--output``."""
    from .device import choose_device, keep_freed_memory, voxel_budget
    from .trainer import Budget, Trainer

    output = Path(arguments.output)
    folder = output / TRAINING_FOLDER
    budget = Budget(**_budget(arguments, folder))
    device = choose_device(arguments.device)
    _check_model_folder(output, arguments.resume, arguments.overwrite)
    keep_freed_memory()
    if arguments.resume:
        settings = Settings.from_json(_started(folder)["settings"])
        prepared = Prepared.load(folder / PREPARED_FILE)
    else:
        study = _study(arguments)
        settings = study.settings
        prepared = prepare(study, voxel_budget(device))
        if arguments.study:
            study.save(arguments.study)
        _remove_model(output)
        prepared.save(folder / PREPARED_FILE)
    description = {"settings": settings.to_json(), "minutes": budget.minutes, "steps": budget.steps}
    with JobWriter(folder, output=str(output.resolve()), device=str(device), **description) as job:
        trainer = Trainer(prepared, settings, budget, device, output, job)
        if arguments.resume:
            trainer.resume()
        log.info("training on %s, U-Net widths %s", device, " ".join(map(str, trainer.channels)))
        finished = trainer.run()
    dice = ", ".join(f"{name} {value:.3f}" for name, value in trainer.metrics.items())
    log.info("%s after %d steps, %.1f minutes", "finished" if finished else "stopped", trainer.step, trainer.seconds / 60)
    log.info("validation Dice (%s): %s", "annotated scans" if trainer.validation.real else "bent atlases", dice)
    log.info("model: %s%s", output, "" if finished else "; --resume goes on")


def _budget(arguments: argparse.Namespace, folder: Path) -> dict[str, float | int | None]:
    """Minutes or steps as given, else of the training to be resumed, else the default."""
    if arguments.minutes is not None and arguments.steps is not None:
        raise InputError("give either --minutes or --steps, not both")
    for name, value in (("--minutes", arguments.minutes), ("--steps", arguments.steps)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} {value:g}: must be more than 0")
    if arguments.minutes is None and arguments.steps is None:
        if arguments.resume:
            return {name: _started(folder)[name] for name in ("minutes", "steps")}
        return {"minutes": DEFAULT_MINUTES, "steps": None}
    return {"minutes": arguments.minutes, "steps": arguments.steps}


def _started(folder: Path) -> dict:
    if not (folder / JOB_FILE).is_file():
        raise InputError(f"{folder.parent}: no training to resume here; start without --resume")
    return read_json(folder / JOB_FILE)


def _check_model_folder(output: Path, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that holds a model (without ``overwrite``), other people's files, or a training that runs."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder for the model")
    if JobReader(output / TRAINING_FOLDER).state in ("running", "paused", "stopping"):
        raise InputError(f"{output}: a training runs here already; stop it first or choose another --output")
    if resume:
        return
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if "model.json" in names or TRAINING_FOLDER in names:
        if not overwrite:
            raise InputError(f"{output}: holds another model; --resume goes on with it, --overwrite replaces it")
    elif names:
        raise InputError(f"{output}: is not empty and holds no model; choose a new folder")


def _remove_model(output: Path) -> None:
    """Removes what training wrote before, and nothing else; called once the new study has proved readable."""
    shutil.rmtree(output / TRAINING_FOLDER, ignore_errors=True)
    for path in [output / "model.json", *output.glob("*.safetensors")]:
        path.unlink(missing_ok=True)


def _study(arguments: argparse.Namespace) -> Study:
    folders = (arguments.atlas_images, arguments.atlas_labels, arguments.unlabeled)
    if arguments.dataset:
        if any(folders):
            raise InputError("--dataset brings its own folders; leave out --atlas-images, --atlas-labels, --unlabeled")
        return Study.from_dataset(arguments.dataset, _settings(arguments, PRESETS[arguments.preset]))
    if all(folders):
        settings = _settings(arguments, PRESETS[arguments.preset])
        validation = (arguments.validation_images, arguments.validation_labels)
        return Study.from_folders(*folders, settings, *validation)
    if arguments.study and not any(folders):
        study = Study.load(arguments.study)
        return replace(study, settings=_settings(arguments, study.settings))
    raise InputError("give --atlas-images, --atlas-labels and --unlabeled, or --dataset, or a --study that exists")


def _settings(arguments: argparse.Namespace, base: Settings) -> Settings:
    given = {item.name: getattr(arguments, item.name) for item in fields(Settings)}
    changed = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None}
    return replace(base, **changed)


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
            names = ["background", *(label.name for label in predictor.schema.labels)]
            for name, probability in zip(names, found.probabilities or ()):
                write_image(probability, target.with_name(f"{bare_name(target)}_probability_{name}.nii.gz"))
            log.info("%s -> %s", path, target)
        except InputError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            log.error("%s", error)
    if failed:
        log.error("%d of %d scans could not be segmented", failed, len(jobs))
    return 2 if failed else 0


def _segmentation_jobs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Pairs of scan and label map to be written."""
    if source.is_dir() and not is_dicom_folder(source):
        scans = list_images(source)
        if not scans:
            raise InputError(f"{source}: no scans here")
        if image_suffix(output):
            raise InputError(f"{output}: is a file name, but --input is a folder; give a folder")
        jobs = [(scan, output / f"{bare_name(scan)}{_suffix_like(scan)}") for scan in scans]
    elif image_suffix(output):
        check_writable_suffix(output)
        jobs = [(source, output)]
    else:
        jobs = [(source, output / f"{bare_name(source)}{_suffix_like(source)}")]
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


def import_weights(arguments: argparse.Namespace) -> None:
    """Makes a model of the original release's checkpoints."""
    from .release_weights import import_release

    output = Path(arguments.output)
    _check_model_folder(output, resume=False, overwrite=arguments.overwrite)
    bundle = import_release(
        arguments.segmentation, arguments.registration, arguments.size, arguments.spacing, arguments.window
    )
    bundle.save(output)
    log.info("model: %s", output)


def demo(arguments: argparse.Namespace) -> None:
    """Makes a synthetic study, trains, segments, evaluates and draws figures."""
    from .demo import run_demo

    run_demo(Path(arguments.output), arguments.device)
