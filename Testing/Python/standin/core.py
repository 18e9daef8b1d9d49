"""The `slicer` package of slicer-core, or the reason why it is not there."""

import sys
from contextlib import contextmanager
from pathlib import Path

_TESTS = Path(__file__).resolve().parent.parent


def missing() -> str:
    """Returns why scenes cannot be tested here, or "" when they can."""
    try:
        importSlicer()
    except ImportError as error:
        return f"needs slicer-core (pip install 'brbs[slicer]'): {error}"
    return ""


def importSlicer():
    """Returns the package `slicer` with `slicer.util`.

    Raises:
        ImportError: slicer-core is not installed, or a system library that it needs is missing.
    """
    with _withoutTestFolders():
        import slicer_core  # noqa: F401  (without it, `slicer` would be an empty namespace package)

        import slicer.util
    return slicer


@contextmanager
def _withoutTestFolders():
    """slicer-core imports every module of every folder `slicer` on the path: the folder of our tests is none of its."""
    path = list(sys.path)
    sys.path[:] = [folder for folder in path if Path(folder or ".").resolve() != _TESTS]
    try:
        yield
    finally:
        sys.path[:] = path
