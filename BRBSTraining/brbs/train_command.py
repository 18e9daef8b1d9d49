"""The command ``train``: prepares a study and trains on it, visible to whoever watches its job from the start."""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, MemoryTooSmall, naming
from .expected_time import voxels_in
from .files import read_json
from .grid_choice import SMALLEST_BUDGET
from .hidden_names import call_folder, call_study
from .job import JOB_FILE, JobWriter, telling_the_queue, user_name
from .launcher import rank, restarts, run_name
from .locking import study_lock
from .model_folder import (
    CHECKPOINT_FILE,
    PREPARED_FILE,
    TRAINING_FOLDER,
    TrainingFolder,
    check_model_folder,
    remove_model,
)
from .preparation import Prepared, prepare
from .progress_bar import progress_bar
from .settings import DEFAULT_PRESET, PRESETS, Settings, with_preset
from .study import FILE_NAME, Study, pair_folders

if TYPE_CHECKING:
    from .processes import Group
    from .trainer import Trainer

log = logging.getLogger("brbs")


class _StopRequested(Exception):
    """The job was asked to stop before the training began."""


def train(arguments: argparse.Namespace) -> int:
    """Prepares a study and trains on it until the budget is used; the model grows in ``--output``.

    Returns:
        0, also after a stop request; 130 when Ctrl-C ended the training. The model is written either way, if the
        training had begun. Of several processes all but the first only compute, and return 0.
    """
    folder = Path(arguments.output) / TRAINING_FOLDER
    if rank() > 0:
        return _follow(arguments.device, folder)
    arguments.resume = arguments.resume or _was_restarted(folder)
    with telling_the_queue(folder):
        study = arguments.study or (_kept_study(folder) if arguments.resume else None)
        if study:
            call_folder(study, "study")
        with study_lock(study, folder) if study else nullcontext():
            return (_resume if arguments.resume else _train_anew)(arguments, folder, _group())


def _group() -> Group:
    """This process among all, with its share of the machine."""
    from .device import share_processor
    from .processes import Group

    share_processor()
    return Group.launched()


def _was_restarted(folder: Path) -> bool:
    """Whether the launcher has started this training again and its checkpoint, not an earlier training's, is there."""
    if restarts() == 0 or not (folder / CHECKPOINT_FILE).is_file():
        return False
    name = run_name()
    return name is not None and read_json(folder / JOB_FILE).get("run") == name


def _follow(device_name: str, folder: Path) -> int:
    """Computes with the first process, which tells what and until when."""
    from .processes import SilentJob
    from .trainer import Budget, Trainer

    log.setLevel(logging.WARNING)  # the first process says the rest
    group = _group()
    device = group.device(device_name)
    with group.connected(device):
        if (told := group.broadcast(None)) is None:  # stopped before the training began
            return 0
        settings, budget, resume = told
        prepared = Prepared.load(folder / PREPARED_FILE)
        trainer = Trainer(prepared, settings, Budget(**budget), device, folder.parent, SilentJob(), group)
        if resume:
            trainer.resume()
        trainer.run()
    return 0


def _train_anew(arguments: argparse.Namespace, folder: Path, group: Group) -> int:
    """Whatever was in the folder before goes only when the whole study has proved usable and is stored."""
    budget, device = _budget(arguments, folder), group.device(arguments.device)
    check_model_folder(folder.parent, overwrite=arguments.overwrite)
    description = _description(folder, device, budget, _absolute(arguments.study))
    with TrainingFolder(folder) as before, JobWriter(folder, **description) as job, group.connected(device):
        try:
            settings, prepared = _prepare(arguments, folder, device, job)
        except _StopRequested:
            group.broadcast(None)
            job.update(state="finished", message="stopped before training began")
            log.info("stopped before training began")
            return 0
        before.keep()
        remove_model(folder.parent)
        job.describe(run=run_name())
        make = partial(_trainer, prepared, settings, budget, folder, job, group)
        return _run_where_it_fits(make, device, _may_move(arguments, device, group), job)


def _resume(arguments: argparse.Namespace, folder: Path, group: Group) -> int:
    budget, device = _budget(arguments, folder), group.device(arguments.device)
    check_model_folder(folder.parent, resume=True)
    settings, prepared = _resumed_settings(arguments, folder), Prepared.load(folder / PREPARED_FILE)
    study = _absolute(arguments.study) or _started(folder).get("study")
    description = _description(folder, device, budget, study)
    counts = {"atlases": len(prepared.atlas_names), "unlabeled": len(prepared.unlabeled_names)}
    told = {"settings": settings.to_json(), "run": run_name()}
    with JobWriter(folder, **description, **told, **counts) as job, group.connected(device):
        make = partial(_trainer, prepared, settings, budget, folder, job, group)
        return _run_where_it_fits(make, device, _may_move(arguments, device, group), job, resume=True)


def _prepare(arguments: argparse.Namespace, folder: Path, device, job: JobWriter) -> tuple[Settings, Prepared]:
    """Reads the study, tells the job how far it is, and stores what was prepared."""
    job.update(message="reading the study")
    study = _study(arguments)
    call_study(study)
    counts = {"atlases": len(study.atlases), "unlabeled": len(study.unlabeled)}
    job.describe(settings=study.settings.to_json(), **counts)
    with progress_bar() as show:

        def tell(done: float, what: str) -> None:
            if job.stop_requested:
                raise _StopRequested
            job.update(message=what)
            show(done, what)

        prepared = prepare(study, _most_voxels(study, device, arguments.minutes), tell)
    if arguments.study and _brings_scans(arguments):  # else it was read, and may be edited meanwhile
        study.save(arguments.study)
    prepared.save(folder / PREPARED_FILE)
    return study.settings, prepared


def _most_voxels(study: Study, device, minutes: float | None) -> int:
    """What the device's memory permits of a working grid, and the time limit where nobody has chosen the spacing."""
    from .device import voxel_budget

    scans = len(study.atlases) + len(study.unlabeled) + len(study.validation)
    most = voxel_budget(device, study.schema.class_count, scans)
    if minutes is None or study.settings.spacing is not None:
        return most
    from .step_timing import step_seconds

    in_time = voxels_in(step_seconds(device, classes=study.schema.class_count), minutes, study.settings)
    return max(SMALLEST_BUDGET, min(most, in_time))


def _description(folder: Path, device, budget: dict[str, Any], study: str | None) -> dict[str, Any]:
    """What ``job.json`` tells of a training beside its state; settings and counts come when they are known."""
    whole = {"output": os.path.abspath(folder.parent), "study": study, "user": user_name(), "device": str(device)}
    return whole | budget


def _trainer(
    prepared: Prepared,
    settings: Settings,
    budget: dict[str, Any],
    folder: Path,
    job: JobWriter,
    group: Group,
    device,
    resume: bool = False,
) -> Trainer:
    """The trainer, of which the other processes are told as well."""
    from .trainer import Budget, Trainer

    group.broadcast((settings, budget, resume))
    trainer = Trainer(prepared, settings, Budget(**budget), device, folder.parent, job, group)
    if resume:
        trainer.resume()
    return trainer


def _may_move(arguments: argparse.Namespace, device, group: Group) -> bool:
    """Whether the training may go on with the processor: nobody has chosen the device, and nobody trains along."""
    return arguments.device == "auto" and device.type != "cpu" and group.world == 1


def _run_where_it_fits(
    make: Callable[..., Trainer], device, may_move: bool, job: JobWriter, resume: bool = False
) -> int:
    """Trains; where the device's memory is too small and the training may move, goes on with the processor.

    Args:
        make: makes the trainer for a device; with ``resume``, from the last checkpoint.

    Returns:
        The exit code.
    """
    try:
        return _run(make(device, resume), resume)
    except MemoryTooSmall as error:
        if not may_move:
            raise
        log.warning("%s", error)
    # Not above: the exception holds on to what was computed.
    log.warning("the memory of %s is too small: the training goes on with the processor, much slower", device)
    processor = type(device)("cpu")
    job.describe(device=str(processor))
    resume = (job.folder / CHECKPOINT_FILE).is_file()
    return _run(make(processor, resume), resume)


def _run(trainer: Trainer, resumed: bool) -> int:
    """Trains and tells what came out; returns the exit code."""
    if resumed:
        log.info("going on at step %d, %.1f minutes", trainer.step, trainer.seconds / 60)
        if trainer.progress >= 1:
            log.warning("the budget was used up before; give more --minutes or --steps to train on")
    log.info("training on %s, U-Net widths %s", trainer.device, " ".join(map(str, trainer.channels)))
    finished = trainer.run()
    dice = ", ".join(f"{name} {value:.3f}" for name, value in trainer.metrics.items())
    state, minutes = "finished" if finished else "stopped", trainer.seconds / 60
    log.info("%s after %d steps, %.1f minutes", state, trainer.step, minutes)
    log.info("validation Dice (%s): %s", "annotated scans" if trainer.validation.real else "bent atlases", dice)
    log.info("model: %s%s", trainer.output, "" if finished else "; --resume goes on")
    return 130 if trainer.interrupted and not finished else 0


def _absolute(folder: str | None) -> str | None:
    return None if folder is None else os.path.abspath(folder)


def _budget(arguments: argparse.Namespace, folder: Path) -> dict[str, float | int | None]:
    """Minutes and steps as given, else of the training to be resumed, else the preset's steps."""
    for name, value in (("--minutes", arguments.minutes), ("--steps", arguments.steps)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} {value:g}: must be more than 0")
    if arguments.minutes is None and arguments.steps is None:
        if arguments.resume and not arguments.preset:
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
    lengths = [started.get(name) for name in ("minutes", "steps")]
    told = all(length is None or type(length) in (int, float) and 0 < length < math.inf for length in lengths)
    if not ({"minutes", "steps"} <= set(started) and isinstance(started.get("settings"), dict) and told):
        raise InputError(f"{path}: does not tell how the training was started; train anew with --overwrite")
    if "run" not in started:  # which is said when scans are read and an earlier training is gone
        raise InputError(f"{folder.parent}: its training was interrupted before it began; train anew with --overwrite")
    return started


def _kept_study(folder: Path) -> str | None:
    """The study of the training to be resumed, if it is still there."""
    study = _started(folder).get("study")
    return study if isinstance(study, str) and Path(study).is_dir() else None


def _resumed_settings(arguments: argparse.Namespace, folder: Path) -> Settings:
    """The settings of the training to be resumed; refuses others on the command line."""
    started = _started(folder)
    with naming(folder / JOB_FILE):
        settings = Settings.from_json(started["settings"])
    wanted = _settings(arguments, settings)
    for item in fields(Settings):
        if getattr(wanted, item.name) != (kept := getattr(settings, item.name)):
            option = f"--{item.name.replace('_', '-')}"
            raise InputError(f"{option}: is {kept} in the training to be resumed; leave it out, or train anew")
    return settings


def _study(arguments: argparse.Namespace) -> Study:
    folders = (arguments.atlas_images, arguments.atlas_labels, arguments.unlabeled)
    if arguments.study and _brings_scans(arguments):
        _check_new(Path(arguments.study), arguments.overwrite)
    if arguments.dataset:
        if any(folders):
            raise InputError("--dataset brings its own folders; leave out --atlas-images, --atlas-labels, --unlabeled")
        study = Study.from_dataset(arguments.dataset, _settings(arguments, PRESETS[DEFAULT_PRESET].settings))
    elif all(folders):
        study = Study.from_folders(*folders, _settings(arguments, PRESETS[DEFAULT_PRESET].settings))
    elif arguments.study and not any(folders):
        study = Study.load(arguments.study)
        study.settings = _settings(arguments, study.settings)
    elif any(folders):
        names = ("--atlas-images", "--atlas-labels", "--unlabeled")
        lacking = " and ".join(name for name, folder in zip(names, folders) if not folder)
        raise InputError(f"{lacking}: not given; scans of a new study take {', '.join(names)}")
    else:
        raise InputError("give --atlas-images, --atlas-labels and --unlabeled, or --dataset, or a --study that exists")
    if arguments.validation_images or arguments.validation_labels:
        if not (arguments.validation_images and arguments.validation_labels):
            raise InputError("give both --validation-images and --validation-labels, or neither")
        study.validation = pair_folders(arguments.validation_images, arguments.validation_labels)
    return study


def _brings_scans(arguments: argparse.Namespace) -> bool:
    """Whether scans are given, of which a new study is made."""
    return any((arguments.dataset, arguments.atlas_images, arguments.atlas_labels, arguments.unlabeled))


def _check_new(folder: Path, overwrite: bool) -> None:
    """Refuses to write a new study over another, whose structures and settings would be lost."""
    if (folder / FILE_NAME).exists() and not overwrite:
        remedy = "leave out the scans to train on it, choose another --study, or replace it with --overwrite"
        raise InputError(f"{folder}: holds a study already; {remedy}")


def _settings(arguments: argparse.Namespace, base: Settings) -> Settings:
    """``base`` as the preset asked for leaves it, with the settings given one by one."""
    given = {item.name: getattr(arguments, item.name) for item in fields(Settings)}
    changed = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None}
    return replace(with_preset(base, arguments.preset) if arguments.preset else base, **changed)
