"""The `slicer` package of slicer-core."""

import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_TESTS = Path(__file__).resolve().parent.parent


def importSlicer():
    """Returns the package `slicer` with `slicer.util`.

    Raises:
        ImportError: slicer-core is not installed, or a system library that it needs is missing.
    """
    with _withoutTestFolders():
        import slicer.util
        import slicer_core  # noqa: F401  (without it, `slicer` would be an empty namespace package)
    if "slicer.i18n" not in sys.modules:
        sys.modules["slicer.i18n"] = slicer.i18n = _translation()
    return slicer


def _translation() -> ModuleType:
    i18n = ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    return i18n


@contextmanager
def _withoutTestFolders():
    """slicer-core imports every module of every folder `slicer` on the path: the folder of our tests is none of its."""
    path = list(sys.path)
    sys.path[:] = [folder for folder in path if Path(folder or ".").resolve() != _TESTS]
    try:
        yield
    finally:
        sys.path[:] = path
