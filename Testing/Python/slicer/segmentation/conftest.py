"""The segmentation module's logic, and a model for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import tiny_bundle


@pytest.fixture
def logic(application):
    import BRBSSegmentation

    made = BRBSSegmentation.BRBSSegmentationLogic()
    yield made
    made.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_bundle().save(tmp_path / "Modell für alle")
    return tmp_path / "Modell für alle"
