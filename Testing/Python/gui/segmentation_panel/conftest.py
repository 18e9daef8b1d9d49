"""The segmentation panel, ready for a user, and a model for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import tiny_bundle
from tiny_study import write_study

PROVENANCE = {"atlases": ["a", "b"], "dice": {"mean": 0.8765}, "validation": "bent atlases", "date": "2026-01-31"}


@pytest.fixture
def model(application, tmp_path: Path) -> Path:
    """A model that was trained in a study of one atlas and two unlabeled scans."""
    import BRBSTraining

    study = BRBSTraining.BRBSTrainingLogic().createStudy(tmp_path / "Nieren")
    files = write_study(tmp_path / "files", unlabeled=2)
    study.addAtlas(files / "images/atlas 0.nii.gz", files / "labels/atlas 0.seg.nrrd")
    study.addUnlabeled(sorted((files / "unlabeled").iterdir()))
    tiny_bundle(provenance=PROVENANCE).save(study.folder / "models/001")
    return study.folder / "models/001"


@pytest.fixture
def widget(application, model):
    """The module's widget, set up, with the model chosen."""
    from standin.scripted_module import openModule

    import BRBSSegmentation

    made = openModule(BRBSSegmentation.BRBSSegmentationWidget)
    yield made
    made.cleanup()


@pytest.fixture
def ui(widget):
    return widget.ui
