"""The module's self-test on nodes of a tiny made-up study; runs in Slicer and wherever its libraries are."""

from __future__ import annotations

import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer

from brbs.checks import check_study, trainable
from brbs.synthetic import STRUCTURES, make_subject

from .EngineReport import EngineReport
from .InspectorLayout import InspectorLayout
from .InspectorScene import GENERATED
from .TrainingPlots import TrainingPlots

SIZE = (24, 28, 24)  # voxels along x, y, z
STEPS = 5
TIMEOUT_SECONDS = 300.0


def trainTinyStudy(logic) -> None:
    """Makes a study of nodes in the scene, trains a few steps, and looks at job, model, curves and a sample.

    Raises:
        AssertionError: something is not as it should be.
        unittest.SkipTest: all is well with the study, and the engine cannot train here; tells why.
    """
    with tempfile.TemporaryDirectory(prefix="BRBS Prüfung ", ignore_cleanup_errors=True) as folder:
        study = makeTinyStudy(logic, Path(folder) / "study")
        skipWithoutEngine(logic)
        job = logic.startTraining(study, steps=STEPS, device="cpu")
        assert logic.waitForJob(job, TIMEOUT_SECONDS), f"still {job.state}: {job.message}"
        assert job.state == "finished", f"{job.message}\n{job.log()}"
        assert job.progress == 1.0
        model = logic.models()[0]
        assert model.folder == job.model
        assert [label["name"] for label in model.description["labels"]] == list(STRUCTURES.values())
        plots = TrainingPlots()
        plots.add(job.events())
        tables = slicer.util.getNodesByClass("vtkMRMLTableNode")
        assert any(table.GetNumberOfRows() > 0 for table in tables), "no curve was drawn"
        plots.remove()
        inspectTinyModel(logic, study, job.model)


def makeTinyStudy(logic, folder: Path, atlases: int = 2, unlabeled: int = 3):
    """Makes a study of nodes in the scene and checks the files that they became, for which no PyTorch is needed.

    Raises:
        AssertionError: something is not as it should be.
    """
    study = logic.createStudy(folder)
    for number in range(atlases):
        logic.addAtlas(study, *subjectNodes(number))
    for number in range(atlases, atlases + unlabeled):
        logic.addUnlabeled(study, subjectNodes(number)[0])
    assert [label.name for label in study.study.schema.labels] == list(STRUCTURES.values())
    items = check_study(study.folder)
    assert [item.status for item in items] == ["ready"] * (atlases + unlabeled), items
    assert trainable(study.study, items) is None
    return study


def inspectTinyModel(logic, study, model: Path) -> None:
    """Generates a sample, shows it side by side, and moves along its path.

    Raises:
        AssertionError: something is not as it should be.
    """
    style, space = study.study.unlabeled[:2]
    shown = logic.inspect(model, study.study.atlases[0].name, style, space, device="cpu")
    layout = InspectorLayout(shown)
    layout.show()
    before = slicer.util.arrayFromVolume(shown.find(GENERATED)).copy()
    shown.setAlpha(0.5)
    shown.setBeta(0.5)
    assert shown.alpha == 0.5
    assert not np.array_equal(slicer.util.arrayFromVolume(shown.find(GENERATED)), before)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert shown.find(GENERATED).GetID() in {composite.GetBackgroundVolumeID() for composite in composites}
    layout.hide()
    shown.remove()
    assert shown.find(GENERATED) is None


def skipWithoutEngine(logic) -> None:
    """Ends a test where the engine cannot compute on this computer.

    Raises:
        AssertionError: it does not say why.
        unittest.SkipTest: why.
    """
    report = EngineReport(logic.engine)
    report.ask(timed=False)
    end = time.monotonic() + TIMEOUT_SECONDS
    while report.busy and time.monotonic() < end:
        report.poll()
        time.sleep(0.05)
    assert not report.busy, "the engine does not answer"
    assert report.usable or report.problem, "an engine that cannot be used has to say why"
    if report.problem:
        raise unittest.SkipTest(report.problem)


def subjectNodes(number: int) -> tuple:
    """A made-up scan and its segmentation as nodes of the scene."""
    image, labels = make_subject(SIZE, np.random.default_rng(number))
    ijkToRAS = np.diag([-image.GetSpacing()[0], -image.GetSpacing()[1], image.GetSpacing()[2], 1.0])
    voxels = sitk.GetArrayFromImage(image)
    volumeNode = slicer.util.addVolumeFromArray(voxels, ijkToRAS=ijkToRAS, name=f"Subject {number}")
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"Subject {number} segmentation")
    segmentationNode.CreateDefaultDisplayNodes()
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    classes = sitk.GetArrayFromImage(labels)
    for value, name in STRUCTURES.items():
        segment = segmentationNode.GetSegmentation().AddEmptySegment(name, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            (classes == value).astype(np.uint8), segmentationNode, segment, volumeNode
        )
    return volumeNode, segmentationNode
