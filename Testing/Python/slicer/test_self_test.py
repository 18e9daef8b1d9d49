"""The modules' self-tests and the sample study, as Slicer runs them."""

from __future__ import annotations

import importlib
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

import pytest
import slicer

import BRBSTraining
from brbs.checks import check_study, trainable
from brbs.study import Study
from BRBSTrainingLib.SampleStudy import makeSampleStudy, registerSampleStudy
from BRBSTrainingLib.SelfTest import trainTinyStudy
from BRBSTrainingLib.UserSettings import UserSettings


def test_self_test_trains_a_model(application) -> None:
    trainTinyStudy(BRBSTraining.BRBSTrainingLogic())


@pytest.fixture(params=["BRBSTraining", "BRBSSegmentation"])
def without_engine(request, application, tmp_path: Path) -> type:
    """A module's self-test, as Slicer finds it, where the engine cannot compute."""
    UserSettings().enginePython = str(tmp_path / "no python")
    return getattr(importlib.import_module(request.param), f"{request.param}Test")


def test_self_test_says_what_it_skips_where_the_engine_cannot_compute(without_engine: type, monkeypatch) -> None:
    result, told = unittest.TestResult(), []
    unittest.TestLoader().loadTestsFromTestCase(without_engine).run(result)
    assert result.wasSuccessful() and "no python" in result.skipped[0][1]
    monkeypatch.setattr(without_engine, "delayDisplay", lambda test, message: told.append(message))
    without_engine().runTest()
    assert "without the engine" in told[-1] and "no python" in told[-1]


def test_self_test_looks_at_the_study_where_the_engine_cannot_compute(without_engine: type, monkeypatch) -> None:
    monkeypatch.setattr("BRBSTrainingLib.SelfTest.check_study", lambda folder: [])
    with pytest.raises(AssertionError):
        without_engine().runTest()


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

    segmentTinyScan(BRBSSegmentation.BRBSSegmentationLogic())


@pytest.fixture
def samples(tmp_path: Path, monkeypatch) -> dict[str, dict]:
    """What the module registers with Slicer's Sample Data, by name; its cache is a fresh folder."""
    registered = {}
    logic = SimpleNamespace(
        registerCustomSampleDataSource=lambda **values: registered.update({values["sampleName"]: values})
    )
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    registerSampleStudy()
    cache = SimpleNamespace(GetRemoteCacheDirectory=lambda: str(tmp_path))
    monkeypatch.setattr(slicer, "mrmlScene", SimpleNamespace(GetCacheManager=lambda: cache))
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda *a: None, raising=False)
    return registered


def test_sample_study_is_registered_and_opened(application, samples: dict, tmp_path: Path, monkeypatch) -> None:
    study, opened = samples["BRBSTinyStudy"], []
    assert study["uris"] == study["fileNames"] == study["nodeNames"] == []
    assert Path(study["thumbnailFileName"]).is_file()
    panel = SimpleNamespace(show=opened.append)
    widget = SimpleNamespace(self=lambda: SimpleNamespace(panel=panel))
    module = SimpleNamespace(widgetRepresentation=lambda: widget)
    monkeypatch.setattr(slicer.modules, "brbstraining", module, raising=False)
    assert study["customDownloader"](None) == []
    assert opened == [tmp_path / "BRBSTinyStudy"]
    assert application.recorded.modules == ["BRBSTraining"]


def test_sample_scans_are_none_of_the_study(application, samples: dict, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(slicer.util, "loadVolume", Path, raising=False)
    loaded = samples["BRBSTinyScans"]["customDownloader"](None)
    study = Study.load(tmp_path / "BRBSTinyStudy")
    assert len(loaded) == 3 and not set(loaded) & {*study.unlabeled, *(atlas.image for atlas in study.atlases)}
