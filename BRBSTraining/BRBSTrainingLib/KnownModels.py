"""The models that this user has trained or added."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brbs.bundle_file import check_bundle
from brbs.errors import InputError
from brbs.model_description import MODEL_FILE, read_description

from .StudyFolder import MODELS, StudyFolder
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

    @property
    def structures(self) -> list[str]:
        """Names of what it segments."""
        return [label["name"] for label in self.description["labels"]]

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it comes from: atlases, steps, validation Dice, date."""
        return self.description.get("provenance", {})

    @property
    def study(self) -> Path | None:
        """Folder of the study that it was trained in; None for one from elsewhere."""
        return studyOf(self.folder)


def studyOf(model: Path) -> Path | None:
    """Folder of the study that a model's folder lies in; None for one from elsewhere."""
    folder = model.parent.parent
    return folder if model.parent.name == MODELS and StudyFolder.holdsStudy(folder) else None


def knownModels(settings: UserSettings) -> list[KnownModel]:
    """Models of all studies that this user has worked with, and those added by hand, the newest first.

    What is gone or damaged is left out.
    """
    trained = [folder for study in settings.studies for folder in _trained(study)]
    hidden = set(settings.hiddenModels)
    folders = [folder for folder in dict.fromkeys([*settings.models, *trained]) if folder not in hidden]
    found = filter(None, map(_known, folders))
    return sorted(found, key=lambda model: model.modified, reverse=True)


def addedModel(settings: UserSettings, folder: Path) -> KnownModel:
    """Puts the model of a folder on the list.

    Raises:
        InputError: no model there, damaged, or of a newer version.
    """
    check_bundle(folder)
    settings.rememberModel(folder)
    return _known(folder)


def _trained(study: Path) -> list[Path]:
    """Folders of a study's models; none where it cannot be reached, as on a drive that is gone."""
    try:
        return list((study / MODELS).iterdir())
    except OSError:
        return []


def _known(folder: Path) -> KnownModel | None:
    try:
        check_bundle(folder)
        description = read_description(folder)
        modified = (folder / MODEL_FILE).stat().st_mtime
    except (InputError, OSError):
        return None
    study = studyOf(folder)
    name = f"{study.name} {folder.name}" if study else folder.name
    return KnownModel(folder, name, description, modified)
