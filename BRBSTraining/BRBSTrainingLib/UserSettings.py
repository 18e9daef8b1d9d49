"""What this user's Slicer remembers between sessions."""

from __future__ import annotations

import json
from pathlib import Path

import qt

MOST_STUDIES = 50


class UserSettings:
    """Folders of studies and models that this user has worked with, and the Python chosen for the engine.

    Lists are kept as JSON text: Qt's own lists of one or no entry come back as other types.
    """

    STUDIES, MODELS, HIDDEN, PYTHON = "BRBS/Studies", "BRBS/Models", "BRBS/HiddenModels", "BRBS/EnginePython"

    @property
    def enginePython(self) -> str:
        """Path of the Python to run the engine with; empty: Slicer's own."""
        return str(self._value(self.PYTHON) or "")

    @enginePython.setter
    def enginePython(self, path: str) -> None:
        qt.QSettings().setValue(self.PYTHON, path)

    @property
    def studies(self) -> list[Path]:
        """Folders of studies, the last used first."""
        return self._folders(self.STUDIES)

    @property
    def models(self) -> list[Path]:
        """Folders of models added by hand or trained here, the last first."""
        return self._folders(self.MODELS)

    def rememberStudy(self, folder: Path) -> None:
        """Puts a study first in the list."""
        self._remember(self.STUDIES, folder)

    @property
    def hiddenModels(self) -> list[Path]:
        """Folders of models that the user has taken off the list."""
        return self._folders(self.HIDDEN)

    def rememberModel(self, folder: Path) -> None:
        """Puts a model first in the list."""
        self._remember(self.MODELS, folder)
        self._forget(self.HIDDEN, folder)

    def forgetModel(self, folder: Path) -> None:
        """Takes a model off the list, also one that is found in a study; its files stay."""
        self._remember(self.HIDDEN, folder)
        self._forget(self.MODELS, folder)

    def _remember(self, key: str, folder: Path) -> None:
        others = [other for other in self._folders(key) if other != Path(folder)]
        qt.QSettings().setValue(key, json.dumps([str(folder), *map(str, others)][:MOST_STUDIES]))

    def _forget(self, key: str, folder: Path) -> None:
        others = [other for other in self._folders(key) if other != Path(folder)]
        qt.QSettings().setValue(key, json.dumps(list(map(str, others))))

    def _folders(self, key: str) -> list[Path]:
        try:
            stored = json.loads(self._value(key) or "[]")
        except ValueError:
            stored = []  # edited by hand
        return [Path(folder) for folder in stored if isinstance(folder, str)]

    @staticmethod
    def _value(key: str):
        return qt.QSettings().value(key)
