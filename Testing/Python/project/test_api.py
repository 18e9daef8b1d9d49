"""Every name of Slicer that our modules use exists in the real application."""

import pytest
from api_check import ROOT, api_file, problems
from api_check.names import Api

MODULES = ["BRBSTraining", "BRBSSegmentation"]


@pytest.mark.parametrize("module", MODULES)
def test_names_exist(module):
    if not api_file().is_file():
        pytest.skip(f"needs the list of what Slicer has: {api_file()}, or another named by BRBS_SLICER_API")
    if not (ROOT / module).is_dir():
        pytest.skip(f"there is no {module} yet")
    assert "\n".join(problems(ROOT / module, Api.load(api_file(), MODULES))) == ""
