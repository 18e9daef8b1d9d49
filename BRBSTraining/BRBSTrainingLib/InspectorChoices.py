"""What a study offers the inspector to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.model_description import MODEL_FILE, read_description
from brbs.model_folder import CHECKPOINT_FILE, TRAINING_FOLDER

from .StudyFolder import StudyFolder


@dataclass(frozen=True)
class ModelChoice:
    """The networks of one training.

    Attributes:
        folder: of the model bundle.
        checkpoint: whether those of the last checkpoint are meant, not those of the model.
    """

    folder: Path
    checkpoint: bool

    @property
    def name(self) -> str:
        """For people."""
        number = self.folder.name
        return _("{number}, last checkpoint").format(number=number) if self.checkpoint else number


@dataclass(frozen=True)
class ScanChoice:
    """A scan whose style or shape can be taken.

    Attributes:
        image: its file.
        labels: its label map, where it is an atlas.
    """

    image: Path
    labels: Path | None = None

    @property
    def name(self) -> str:
        """For people."""
        return _("{name} (atlas)").format(name=self.image.name) if self.labels else self.image.name


def modelChoices(study: StudyFolder) -> list[ModelChoice]:
    """The networks of all trainings, the newest first; a training without either model or checkpoint is left out."""
    found = []
    for folder in study.modelFolders:
        files = ((folder / MODEL_FILE, False), (folder / TRAINING_FOLDER / CHECKPOINT_FILE, True))
        found += [ModelChoice(folder, checkpoint) for path, checkpoint in files if path.is_file()]
    return found


def atlasChoices(study: StudyFolder, model: ModelChoice) -> list[str]:
    """Names of a model's atlases; of a checkpoint without a model, those of the study."""
    try:
        names = read_description(model.folder).get("provenance", {}).get("atlases", [])
    except InputError:
        names = []
    return list(names) or [atlas.name for atlas in study.study.atlases]


def styleChoices(study: StudyFolder) -> list[ScanChoice]:
    """The unlabeled scans, from which training takes styles, too."""
    return [ScanChoice(path) for path in study.study.unlabeled]


def spaceChoices(study: StudyFolder) -> list[ScanChoice]:
    """The unlabeled scans, and the atlases, whose label maps tell how well another one is brought over them."""
    return [*styleChoices(study), *(ScanChoice(atlas.image, atlas.labels) for atlas in study.study.atlases)]
