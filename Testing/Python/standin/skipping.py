"""Skipping whole test files, with the reason, where what they need is not installed."""

import os

import pytest

# Set where everything should be installed, as on a build server: what is missing then is an error.
ALL_TESTS = "BRBS_ALL_TESTS"


class SkippedModule(pytest.Module):
    """A test file that is not even imported."""

    reason = ""

    def collect(self):
        """Skips the file, or fails where no file may be skipped."""
        _skip(self.reason)


def moduleOrSkip(modulePath, parent):
    """Puts the stand-ins in place, so that the file may import ``slicer``, ``qt`` and ``ctk``.

    Returns:
        The skipped file where they cannot be; otherwise None: pytest then collects it as always.
    """
    reason = _install()
    if not reason:
        return None
    module = SkippedModule.from_parent(parent, path=modulePath)
    module.reason = reason
    return module


def skipWithoutSlicer() -> None:
    """Ends a test whose child process cannot import ``slicer``, ``qt`` and ``ctk``."""
    if reason := _install():
        _skip(reason)


def _skip(reason: str) -> None:
    if os.environ.get(ALL_TESTS):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _install() -> str:
    try:
        from standin.scene import installScene, slicer
        from standin.widgets import installWidgets

        if not hasattr(slicer, "mrmlScene"):
            installScene()
        installWidgets()
    except ImportError as error:
        return f"needs slicer-core and PyQt5 with Qt's system libraries (pip install 'brbs[slicer]'): {error}"
    return ""
