"""A fresh scene a test; without slicer-core these tests are skipped."""

import pytest
from standin.core import missing
from standin.skipping import moduleOrSkip

# reading names needs no scene
WITHOUT_SCENE = {"test_api.py", "test_api_check.py"}


def pytest_pycollect_makemodule(module_path, parent):
    """Skips the test files where there is no slicer-core."""
    return moduleOrSkip(module_path, parent, "" if module_path.name in WITHOUT_SCENE else missing())


@pytest.fixture
def scene():
    """A fresh `slicer.mrmlScene` with working `slicer.modules`; cleared afterwards."""
    from standin.scene import installScene

    scene = installScene()
    yield scene
    scene.Clear(0)
