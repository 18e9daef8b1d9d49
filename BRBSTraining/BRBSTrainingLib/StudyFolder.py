"""A study as the panel works on it: the folder, its ``study.json`` and what lies beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.locking import lock_holder
from brbs.settings import DEFAULT_PRESET, PRESETS, Settings
from brbs.study import FILE_NAME, Atlas, Study
from brbs.volumes import read_label_schema

from .FileName import fileName

SCANS, ATLASES, MODELS = "scans", "atlases", "models"


class StudyFolder:
    """A study folder that is open. Every change is written to ``study.json`` at once; user's files are never removed.

    The other module and other Slicers may write it, too: what they have changed is taken in before each change.

    Attributes:
        folder: absolute path.
        study: the engine's description of it.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder, self.study = _absolute(folder), study
        self._stamp = self._stampOnDisk()

    @classmethod
    def create(cls, folder: str | Path) -> StudyFolder:
        """Begins a study; the folder is made, other files in it stay.

        Raises:
            InputError: there is a study already, or the folder cannot be written.
        """
        if cls.holdsStudy(folder):
            problem = _("{folder}: holds a study already; open it, or choose another folder")
            raise InputError(problem.format(folder=folder))
        created = cls(Path(folder), Study([], [], LabelSchema(()), PRESETS[DEFAULT_PRESET].settings))
        created.save()
        return created

    @classmethod
    def open(cls, folder: str | Path) -> StudyFolder:
        """Opens a study.

        Raises:
            InputError: no study there, damaged, or written by a newer version.
        """
        return cls(Path(folder), Study.load(folder))

    @staticmethod
    def holdsStudy(folder: str | Path) -> bool:
        """Whether the folder is that of a study."""
        return os.path.isfile(Path(folder) / FILE_NAME)  # Path's own raises where a drive does not answer

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def save(self) -> None:
        """Writes ``study.json``.

        Raises:
            InputError: it cannot be written.
        """
        self.study.save(self.folder)
        self._stamp = self._stampOnDisk()

    def refresh(self) -> bool:
        """Reads the study anew if others have written it since; true if so.

        Raises:
            InputError: as :meth:`open`.
        """
        stamp = self._stampOnDisk()
        if stamp in (None, self._stamp):
            return False
        self.study, self._stamp = Study.load(self.folder), stamp
        return True

    def _stampOnDisk(self) -> tuple[int, int] | None:
        try:
            status = (self.folder / FILE_NAME).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    # ---- scans

    def addAtlas(self, image: Path, labels: Path, schema: LabelSchema | None = None) -> None:
        """Adds an annotated scan; it is no longer among the unlabeled ones. A pair that is there stays single.

        Args:
            image: the scan's file.
            labels: its label map's file; names and colours of a .seg.nrrd come into the structures.
            schema: the structures to be kept from now on, where the caller has merged them.

        Raises:
            InputError: the label map's header cannot be read, or the study not be written.
        """
        self.refresh()
        image, labels = _absolute(image), _absolute(labels)
        if schema is None:
            found = LabelSchema(tuple(Label(*meta) for meta in read_label_schema(labels) or ()))
            schema = self.study.schema.merge(found)
        others = [atlas for atlas in self.study.atlases if _same(atlas.image) != _same(image)]
        self.study.atlases = [*others, Atlas(image, labels)]
        self.study.unlabeled = [path for path in self.study.unlabeled if _same(path) != _same(image)]
        self.study.schema = schema
        self.save()

    def addUnlabeled(self, images: Sequence[Path]) -> int:
        """Adds scans without annotation; those of the study already are left out.

        Returns:
            How many were added.

        Raises:
            InputError: the study cannot be written.
        """
        self.refresh()
        known = {_same(path) for path in self._scans()}
        new = {_same(path): path for path in map(_absolute, images) if _same(path) not in known}
        self.study.unlabeled = [*self.study.unlabeled, *new.values()]
        self.save()
        return len(new)

    def removeAtlases(self, images: Sequence[Path]) -> None:
        """Takes atlases out of the study; no file is removed.

        Raises:
            InputError: the study cannot be written.
        """
        self.refresh()
        gone = set(map(_same, images))
        self.study.atlases = [atlas for atlas in self.study.atlases if _same(atlas.image) not in gone]
        self.save()

    def removeUnlabeled(self, images: Sequence[Path]) -> None:
        """Takes unlabeled scans out of the study; no file is removed.

        Raises:
            InputError: the study cannot be written.
        """
        self.refresh()
        gone = set(map(_same, images))
        self.study.unlabeled = [path for path in self.study.unlabeled if _same(path) not in gone]
        self.save()

    def scanFile(self, name: str) -> Path:
        """A new file name for an exported scan."""
        return _unused(self.folder / SCANS, name, ".nrrd")

    def labelsFile(self, name: str) -> Path:
        """A new file name for an exported segmentation."""
        return _unused(self.folder / ATLASES, name, ".seg.nrrd")

    def _scans(self) -> list[Path]:
        return [atlas.image for atlas in self.study.atlases] + self.study.unlabeled

    # ---- structures and settings

    def setSchema(self, schema: LabelSchema) -> None:
        """Sets the structures.

        Raises:
            InputError: the study cannot be written.
        """
        self.refresh()
        self.study.schema = schema
        self.save()

    def setSettings(self, settings: Settings) -> None:
        """Sets the settings.

        Raises:
            InputError: the study cannot be written.
        """
        self.refresh()
        self.study.settings = settings
        self.save()

    def changeSetting(self, name: str, value: object) -> None:
        """Sets one setting.

        Raises:
            InputError: a value it cannot have (the study stays as it was), or the study cannot be written.
        """
        self.refresh()
        self.setSettings(replace(self.study.settings, **{name: value}))

    # ---- models

    @property
    def modelFolders(self) -> list[Path]:
        """Folders of the study's trainings, the newest first."""
        root = self.folder / MODELS
        numbered = [path for path in root.iterdir() if path.name.isdigit()] if os.path.isdir(root) else []
        return sorted(numbered, key=lambda path: int(path.name), reverse=True)

    def newModelFolder(self) -> Path:
        """The folder for the next training; not made yet."""
        last = self.modelFolders[:1]
        return self.folder / MODELS / f"{int(last[0].name) + 1 if last else 1:03d}"

    @property
    def lockHolder(self) -> str | None:
        """Who is training the study now, as a sentence; none: nobody."""
        return lock_holder(self.folder)


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))


def _same(path: str | Path) -> str:
    """One spelling of a path, so that a file is not taken twice."""
    return os.path.normcase(os.path.abspath(path))


def _unused(folder: Path, name: str, suffix: str) -> Path:
    """A file in the folder that does not exist yet, named like a node as far as all file systems allow."""
    numbers = chain([""], (f"_{number}" for number in count(2)))
    paths = (folder / f"{fileName(name)}{number}{suffix}" for number in numbers)
    return next(path for path in paths if not path.exists())
