"""What the commands of ``python -m brbs`` do, one function each; engine parts with torch are imported on use."""

from __future__ import annotations

import argparse
import logging
import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from . import device_report
from .checks import check_study
from .errors import InputError
from .files import read_json
from .job import EVENTS_FILE, JOB_FILE, JobReader, JobWriter
from .model_description import MODEL_FILE
from .preparation import Prepared, prepare
from .settings import DEFAULT_PRESET, PRESETS, Settings
from .study import LabelSchema, Study, pair_folders
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

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger("brbs")

TRAINING_FOLDER = "training"
PREPARED_FILE = "prepared.npz"
READING_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


def train(arguments: argparse.Namespace) -> int:
    """Prepares a study and trains on it until the budget is used; the model grows in ``--output``.

    Returns:
        0, also after a stop request; 130 when Ctrl-C ended the training. The model is written either way.
    """
    from .device import choose_device, keep_freed_memory, voxel_budget
    from .trainer import Budget, Trainer

    output = Path(arguments.output)
    folder = output / TRAINING_FOLDER
    budget = Budget(**_budget(arguments, folder))
    device = choose_device(arguments.device)
    _check_model_folder(output, arguments.resume, arguments.overwrite)
    keep_freed_memory()
    if arguments.resume:
        settings, prepared = _resumed_settings(arguments, folder), Prepared.load(folder / PREPARED_FILE)
    else:
        settings, prepared = _begin(arguments, output, voxel_budget(device))
    description = {"settings": settings.to_json(), "minutes": budget.minutes, "steps": budget.steps}
    with JobWriter(folder, output=str(output.resolve()), device=str(device), **description) as job:
        trainer = Trainer(prepared, settings, budget, device, output, job)
        if arguments.resume:
            trainer.resume()
            log.info("going on at step %d, %.1f minutes", trainer.step, trainer.seconds / 60)
            if trainer.progress >= 1:
                log.warning("the budget was used up before; give more --minutes or --steps to train on")
        log.info("training on %s, U-Net widths %s", device, " ".join(map(str, trainer.channels)))
        finished = trainer.run()
    _log_outcome(trainer, finished)
    return 130 if trainer.interrupted and not finished else 0


def _log_outcome(trainer: Trainer, finished: bool) -> None:
    dice = ", ".join(f"{name} {value:.3f}" for name, value in trainer.metrics.items())
    state, minutes = "finished" if finished else "stopped", trainer.seconds / 60
    log.info("%s after %d steps, %.1f minutes", state, trainer.step, minutes)
    log.info("validation Dice (%s): %s", "annotated scans" if trainer.validation.real else "bent atlases", dice)
    log.info("model: %s%s", trainer.output, "" if finished else "; --resume goes on")


def _begin(arguments: argparse.Namespace, output: Path, budget: int) -> tuple[Settings, Prepared]:
    """Reads the study; whatever was in ``output`` before goes only when all of it has proved usable and is stored."""
    study = _study(arguments)
    with _made_folder(output / TRAINING_FOLDER) as folder:
        with tqdm(total=100, bar_format=READING_BAR, disable=None, leave=False) as bar, logging_redirect_tqdm():
            prepared = prepare(study, budget, lambda done, what: _show(bar, done, what))
        if arguments.study:
            study.save(arguments.study)
        prepared.save(folder / PREPARED_FILE)
    _remove_model(output)
    return study.settings, prepared


def _show(bar: tqdm, done: float, what: str) -> None:
    bar.n = round(100 * done)
    bar.set_description_str(what)


@contextmanager
def _made_folder(folder: Path) -> Iterator[Path]:
    """Makes a folder and proves that it can be written; takes back what it made, parents too, if the block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{folder}: cannot be written ({reason}); choose another --output") from error
        yield folder
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def _budget(arguments: argparse.Namespace, folder: Path) -> dict[str, float | int | None]:
    """Minutes and steps as given, else of the training to be resumed, else the preset's steps."""
    for name, value in (("--minutes", arguments.minutes), ("--steps", arguments.steps)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} {value:g}: must be more than 0")
    if arguments.minutes is None and arguments.steps is None:
        if arguments.resume:
            started = _started(folder)
            return {name: started[name] for name in ("minutes", "steps")}
        return {"minutes": None, "steps": PRESETS[arguments.preset or DEFAULT_PRESET].steps}
    return {"minutes": arguments.minutes, "steps": arguments.steps}


def _started(folder: Path) -> dict:
    """What the training to be resumed was started with."""
    path = folder / JOB_FILE
    if not path.is_file():
        raise InputError(f"{folder.parent}: no training to resume here; start without --resume")
    started = read_json(path)
    if not {"settings", "minutes", "steps"} <= set(started):
        raise InputError(f"{path}: does not tell how the training was started; train anew with --overwrite")
    return started


def _resumed_settings(arguments: argparse.Namespace, folder: Path) -> Settings:
    """The settings of the training to be resumed; refuses others on the command line."""
    settings = Settings.from_json(_started(folder)["settings"])
    wanted = _settings(arguments, settings)
    for item in fields(Settings):
        if getattr(wanted, item.name) != (kept := getattr(settings, item.name)):
            option = f"--{item.name.replace('_', '-')}"
            raise InputError(f"{option}: is {kept} in the training to be resumed; leave it out, or train anew")
    return settings


def _check_model_folder(output: Path, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that holds a model (without ``overwrite``), other people's files, or a training that runs."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder for the model")
    if JobReader(output / TRAINING_FOLDER).state in ("running", "paused", "stopping"):
        raise InputError(f"{output}: a training runs here already; stop it first or choose another --output")
    if resume:
        return
    names = {path.name for path in output.iterdir() if not path.name.startswith(".")} if output.is_dir() else set()
    if MODEL_FILE in names or (output / TRAINING_FOLDER / JOB_FILE).exists():
        if not overwrite:
            raise InputError(f"{output}: holds another model; --resume goes on with it, --overwrite replaces it")
    elif names - {TRAINING_FOLDER}:
        raise InputError(f"{output}: is not empty and holds no model; choose a new folder")


def _remove_model(output: Path) -> None:
    """Removes what an earlier training wrote, and nothing else; ``job.json`` is replaced when the new one starts."""
    training = output / TRAINING_FOLDER
    for path in [output / MODEL_FILE, *output.glob("*.safetensors"), *training.glob("*.pt"), training / EVENTS_FILE]:
        path.unlink(missing_ok=True)


def _study(arguments: argparse.Namespace) -> Study:
    folders = (arguments.atlas_images, arguments.atlas_labels, arguments.unlabeled)
    if arguments.dataset:
        if any(folders):
            raise InputError("--dataset brings its own folders; leave out --atlas-images, --atlas-labels, --unlabeled")
        study = Study.from_dataset(arguments.dataset, _settings(arguments, PRESETS[DEFAULT_PRESET].settings))
    elif all(folders):
        study = Study.from_folders(*folders, _settings(arguments, PRESETS[DEFAULT_PRESET].settings))
    elif arguments.study and not any(folders):
        study = Study.load(arguments.study)
        study.settings = _settings(arguments, study.settings)
    else:
        raise InputError("give --atlas-images, --atlas-labels and --unlabeled, or --dataset, or a --study that exists")
    if arguments.validation_images or arguments.validation_labels:
        if not (arguments.validation_images and arguments.validation_labels):
            raise InputError("give both --validation-images and --validation-labels, or neither")
        study.validation = pair_folders(arguments.validation_images, arguments.validation_labels)
    return study


def _settings(arguments: argparse.Namespace, base: Settings) -> Settings:
    """The preset asked for, else ``base``, with the settings given one by one."""
    given = {item.name: getattr(arguments, item.name) for item in fields(Settings)}
    changed = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None}
    return replace(PRESETS[arguments.preset].settings if arguments.preset else base, **changed)


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


def check(arguments: argparse.Namespace) -> None:
    """Looks at what is new or has changed in a study and tells of every scan or label map that deserves attention."""
    with tqdm(total=100, bar_format=READING_BAR, disable=None, leave=False) as bar, logging_redirect_tqdm():
        items = check_study(arguments.study, lambda done, what: _show(bar, done, what))
    for item in items:
        if item.message:
            log.warning("%s: %s", item.status, item.message)
    log.info("%d of %d can be used", sum(item.usable for item in items), len(items))


def devices(_: argparse.Namespace) -> None:
    """Prints what this Python offers to the engine, as ``python -m brbs.device_report`` does where packages lack."""
    device_report.main()
