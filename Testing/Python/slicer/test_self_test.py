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


def test_sample_study_is_registered_and_opened(application, tmp_path: Path, monkeypatch) -> None:
    import sys
    from types import SimpleNamespace

    import slicer

    from BRBSTrainingLib.SampleStudy import registerSampleStudy

    registered, opened = {}, []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **values: registered.update(values))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    registerSampleStudy()
    assert registered["uris"] == registered["fileNames"] == registered["nodeNames"] == []
    assert Path(registered["thumbnailFileName"]).is_file()

    cache = SimpleNamespace(GetRemoteCacheDirectory=lambda: str(tmp_path))
    monkeypatch.setattr(slicer, "mrmlScene", SimpleNamespace(GetCacheManager=lambda: cache))
    panel = SimpleNamespace(show=opened.append)
    widget = SimpleNamespace(self=lambda: SimpleNamespace(panel=panel))
    module = SimpleNamespace(widgetRepresentation=lambda: widget)
    monkeypatch.setattr(slicer.modules, "brbstraining", module, raising=False)
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda *a: None, raising=False)
    assert registered["customDownloader"](None) == []
    assert opened == [tmp_path / "BRBSTinyStudy"]
    assert application.recorded.modules == ["BRBSTraining"]
