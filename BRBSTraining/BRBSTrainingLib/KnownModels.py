"""The models that this user has trained or added."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brbs.errors import InputError
from brbs.model_description import MODEL_FILE, read_description

from .StudyFolder import MODELS
from .UserSettings import UserSettings


@dataclass(frozen=True)
class KnownModel:
    """A model bundle on disk.

    Attributes:
        folder: of the bundle.
        name: for people: the study's name and the training's number, else the folder's name.
        description: the content of its ``model.json``.
        modified: when it was last written (Unix seconds).
    """

    folder: Path
    name: str
    description: dict[str, Any]
    modified: float


def knownModels(settings: UserSettings) -> list[KnownModel]:
    """Models of all studies that this user has worked with, and those added by hand, the newest first.

    What is gone or damaged is left out.
    """
    trained = [folder for study in settings.studies for folder in (study / MODELS).glob("*")]
    folders = dict.fromkeys([*settings.models, *trained])
    found = filter(None, map(_known, folders))
    return sorted(found, key=lambda model: model.modified, reverse=True)


def _known(folder: Path) -> KnownModel | None:
    try:
        description = read_description(folder)
        modified = (folder / MODEL_FILE).stat().st_mtime
    except (InputError, OSError):
        return None
    ofStudy = folder.parent.name == MODELS
    name = f"{folder.parent.parent.name} {folder.name}" if ofStudy else folder.name
    return KnownModel(folder, name, description, modified)
