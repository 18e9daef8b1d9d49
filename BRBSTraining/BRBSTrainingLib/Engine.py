"""The Python that runs the engine, and how its processes are started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import slicer
from slicer.i18n import tr as _

import brbs
from brbs.errors import InputError

from .UserSettings import UserSettings

NAMELESS = ["-m", "brbs", "--hide-names"]  # the engine where what it prints is kept, so that nobody is named there
PACKAGE_PARENT = Path(brbs.__file__).resolve().parent.parent


class Engine:
    """Starts ``python -m brbs ...`` in Slicer's own Python or in the one that the user points to.

    Slicer's Python does not know the folders of modules; so ``PYTHONPATH`` names the one that holds ``brbs``.
    """

    def __init__(self) -> None:
        self._settings = UserSettings()

    @property
    def chosenPython(self) -> str:
        """The user's choice of a Python for the engine; empty: Slicer's own."""
        return self._settings.enginePython

    @chosenPython.setter
    def chosenPython(self, path: str) -> None:
        self._settings.enginePython = str(path).strip()

    @property
    def python(self) -> str:
        """Path of the Python that runs the engine."""
        return self.chosenPython or ownPython()

    def start(
        self, arguments: Sequence[str], output: Path, detached: bool = False, own: bool = False
    ) -> subprocess.Popen:
        """Starts a process of the engine.

        Args:
            arguments: what follows ``python``, such as ``["-m", "brbs", "train", ...]``.
            output: file that everything the process prints is appended to; its folder is made.
            detached: the process goes on when Slicer ends or crashes.
            own: in Slicer's Python, whatever the user has chosen for the engine.

        Raises:
            InputError: the Python cannot be started, or the file not be written.
        """
        python = ownPython() if own else self.python
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with output.open("ab") as stream:
                return subprocess.Popen(
                    [python, *map(str, arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=_environment(python),
                    cwd=str(output.parent),
                    **_flags(detached),
                )
        except OSError as error:
            remedy = _("check the study's folder and, under Advanced, the engine Python")
            raise InputError(f"{error.filename or python}: {error.strerror or error}; {remedy}") from error


def ownPython() -> str:
    """Slicer's own Python interpreter; outside Slicer the one that runs."""
    return shutil.which("PythonSlicer") or sys.executable


def _environment(python: str) -> dict[str, str]:
    """Environment variables for that Python; one that is not Slicer's gets none of Slicer's libraries."""
    foreign = python != ownPython() and shutil.which("PythonSlicer") is not None
    variables = dict(slicer.util.startupEnvironment() if foreign else os.environ)
    known = variables.get("PYTHONPATH", "")
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE_PARENT), known]))
    return variables | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def _flags(detached: bool) -> dict:
    """What lets a child outlive Slicer, or be ended with its children, without a console window on Windows."""
    if os.name == "nt":
        group = subprocess.CREATE_NEW_PROCESS_GROUP if detached else 0
        return {"creationflags": subprocess.CREATE_NO_WINDOW | group}
    return {"start_new_session": True}
