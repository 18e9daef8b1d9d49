"""Reads our modules and forms and finds names that the real Slicer does not have.

Nothing is run. What Slicer has is read from a file that lists it, ``slicer-api.json``; classes of MRML and VTK are
looked at in slicer-core where it is installed.
"""

from __future__ import annotations

import os
from pathlib import Path

from api_check.form import read_form
from api_check.names import Api
from api_check.source import Project

ROOT = Path(__file__).resolve().parents[3]


def api_file() -> Path:
    """Returns the path of the list; it need not exist."""
    return Path(os.environ.get("BRBS_SLICER_API") or ROOT.parent / "shared" / "slicer-api.json")


def problems(folder: Path, api: Api) -> list[str]:
    """Returns a line for each name of a module's folder that does not exist: file, line, what does not exist."""
    forms = [read_form(path, api) for path in sorted(folder.rglob("*.ui"))]
    sources = [*folder.glob("*.py"), *folder.glob(f"{folder.name}Lib/**/*.py")]
    project = Project(sorted(sources), {name: thing for form in forms for name, thing in form.widgets.items()}, api)
    found = [problem for form in forms for problem in [*form.problems, *form.unknown_parameters(project.parameters)]]
    return found + project.problems()
