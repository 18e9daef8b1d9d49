"""The model that a training has brought forth so far: by the training itself, and by others from its checkpoint."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .anisotropy import Strides, default_unet
from .errors import InputError, first_line
from .files import read_json
from .grid import WorkingGrid
from .job import JOB_FILE
from .model import ModelBundle
from .model_description import MODEL_FILE
from .model_folder import CHECKPOINT_FILE, PREPARED_FILE, TRAINING_FOLDER
from .preparation import Prepared
from .settings import Settings


def trained_model(
    prepared: Prepared,
    settings: Settings,
    segmentation: Mapping[str, Tensor],
    registration: Mapping[str, Tensor],
    **provenance: Any,
) -> ModelBundle:
    """A model of a prepared study.

    Args:
        prepared: the study.
        settings: of the training.
        segmentation: S's state dict.
        registration: R's state dict.
        provenance: what else is to be told of the model.
    """
    channels, strides = unet_of(settings, prepared.grid)
    return ModelBundle(
        schema=prepared.schema,
        grid=prepared.grid,
        settings=settings,
        channels=channels,
        segmentation=dict(segmentation),
        registration=dict(registration),
        atlas_images=prepared.atlas_images,
        atlas_labels=prepared.atlas_labels,
        provenance={"atlases": prepared.atlas_names} | provenance,
        strides=strides,
        overview=prepared.overview,
    )


def unet_of(settings: Settings, grid: WorkingGrid) -> tuple[tuple[int, ...], Strides | None]:
    """Widths and strides of the U-Nets of a training: as set, with the publication's strides, or as suits the grid."""
    if settings.channels is not None:
        return tuple(settings.channels), None
    return default_unet(grid.shape, grid.spacing[::-1])


def checkpoint_model(folder: Path) -> ModelBundle:
    """The networks of a training's last checkpoint; the training may be running.

    Args:
        folder: of the model.

    Raises:
        InputError: there is no checkpoint, or it is damaged.
    """
    training = folder / TRAINING_FOLDER
    path = training / CHECKPOINT_FILE
    try:
        content = path.read_bytes()  # at once, so that the training can replace the file
    except FileNotFoundError:
        if (folder / MODEL_FILE).is_file():
            raise InputError(f"{folder}: has a model, but no checkpoint of its training; use the model") from None
        remedy = "wait until its training has written the first one (every two minutes), or give a model's folder"
        raise InputError(f"{folder}: has no model and no checkpoint yet; {remedy}") from None
    prepared = Prepared.load(training / PREPARED_FILE, scans=False)
    description = read_json(training / JOB_FILE)
    try:
        settings = Settings.from_json(description["settings"])
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        learner = state["learner"]
        segmentation = learner["segmentation"] if learner["teacher"] is None else learner["teacher"]
        steps = {"step": state["progress"]["step"], "registration_steps": learner["own_steps"]["registration"]}
        return trained_model(prepared, settings, segmentation, learner["registration"], **steps)
    except Exception as error:  # torch.load raises whatever the bytes make it raise
        remedy = "use the model, or train anew"
        raise InputError(f"{path}: damaged or of another version ({first_line(error)}); {remedy}") from error
