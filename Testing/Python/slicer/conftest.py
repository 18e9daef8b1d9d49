"""Scenes and logic; without slicer-core and PyQt5 these tests are skipped."""

from standin.fixtures import application, scene  # noqa: F401
from standin.skipping import moduleOrSkip


def pytest_pycollect_makemodule(module_path, parent):
    """Skips a test file where the stand-ins cannot be put in place."""
    return moduleOrSkip(module_path, parent)
