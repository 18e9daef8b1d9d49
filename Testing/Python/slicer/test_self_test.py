"""The modules' self-tests and the sample study, as Slicer runs them."""

from __future__ import annotations

from pathlib import Path

import BRBSTraining
from brbs.checks import check_study, trainable
from BRBSTrainingLib.SampleStudy import makeSampleStudy
from BRBSTrainingLib.SelfTest import trainTinyStudy


def test_self_test_trains_a_model(application) -> None:
    assert trainTinyStudy(BRBSTraining.BRBSTrainingLogic()) == "trained"


def test_self_test_passes_where_the_engine_cannot_train(application, tmp_path: Path) -> None:
    logic = BRBSTraining.BRBSTrainingLogic()
    logic.engine.chosenPython = tmp_path / "no python"
    assert "no python" in trainTinyStudy(logic)


def test_module_describes_itself(application) -> None:
    class Parent:
        pass

    parent = Parent()
    BRBSTraining.BRBSTraining(parent)
    assert parent.title == "BRBS Training"
    assert parent.helpText and parent.acknowledgementText


def test_sample_study_can_be_trained(application, tmp_path: Path) -> None:
    study = makeSampleStudy(tmp_path / "sample")
    assert trainable(study.study, check_study(study.folder)) is None
    assert [label.name for label in study.study.schema.labels] == ["Cortex", "Medulla", "Pelvis", "Vessel"]
    assert makeSampleStudy(tmp_path / "sample").study == study.study


def test_segmentation_self_test_segments(application) -> None:
    import BRBSSegmentation
    from BRBSSegmentationLib.SelfTest import segmentTinyScan

    assert segmentTinyScan(BRBSSegmentation.BRBSSegmentationLogic()) == "segmented"
