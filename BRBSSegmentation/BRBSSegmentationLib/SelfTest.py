"""The module's self-test; runs in Slicer and wherever its libraries are."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import slicer

from brbs.synthetic import STRUCTURES
from BRBSTraining import BRBSTrainingLogic
from BRBSTrainingLib.SelfTest import STEPS, TIMEOUT_SECONDS, makeTinyStudy, skipWithoutEngine, subjectNodes

from .ResultNode import noteConfidence, showResult


def segmentTinyScan(logic) -> None:
    """Shows a label map and measures it; then trains a model for a few steps and segments a scan with it: twice into
    the scene, once as a batch of files.

    Raises:
        AssertionError: something is not as it should be.
        unittest.SkipTest: all is well with the label map, and the engine cannot compute here; tells why.
    """
    training = BRBSTrainingLogic()
    with tempfile.TemporaryDirectory(prefix="BRBS Prüfung ", ignore_cleanup_errors=True) as folder:
        study = makeTinyStudy(training, Path(folder) / "study", atlases=1, unlabeled=2)
        showTinyResult(logic, study)
        skipWithoutEngine(training)
        job = training.startTraining(study, steps=STEPS, device="cpu")
        assert training.waitForJob(job, TIMEOUT_SECONDS), f"still {job.state}: {job.message}"
        assert job.state == "finished", f"{job.message}\n{job.log()}"
        model = logic.models()[0]
        volumeNode = subjectNodes(3)[0]
        node = logic.segment(volumeNode, model, device="cpu")
        _check(logic, node, volumeNode)
        assert logic.segment(volumeNode, model, node, device="cpu") is node
        _check(logic, node, volumeNode)
        _checkBatch(logic.segmentBatch([volumeNode], model, Path(folder) / "Ergebnisse", device="cpu"))
        logic.close()


def showTinyResult(logic, study) -> None:
    """Shows the atlas's label map as a model's result is shown, and measures it; no PyTorch is needed.

    Raises:
        AssertionError: something is not as it should be.
    """
    volumeNode, drawn = subjectNodes(0)  # of which the atlas was made
    node = showResult(study.study.atlases[0].labels, volumeNode)
    noteConfidence(node, dict.fromkeys(STRUCTURES.values(), 0.5))
    _check(logic, node, volumeNode)
    for shown, true in zip(*(each.GetSegmentation().GetSegmentIDs() for each in (node, drawn))):
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(drawn, true, volumeNode)
        assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, shown, volumeNode), voxels), true
    table = logic.measurements(node).GetTable()
    assert table.GetNumberOfRows() == len(STRUCTURES)
    assert all(table.GetValue(row, 1).ToDouble() > 0 for row in range(len(STRUCTURES)))


def _checkBatch(batch) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while batch.active and time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.05)
    while batch.poll():
        pass
    assert [scan.state for scan in batch.scans.values()] == ["finished"], f"{batch.message}\n{batch.log()}"
    assert batch.table.is_file()


def _check(logic, node, volumeNode) -> None:
    names = [node.GetSegmentation().GetNthSegment(index).GetName() for index in range(len(STRUCTURES))]
    assert names == list(STRUCTURES.values()), names
    assert set(logic.confidence(node)) == set(STRUCTURES.values())
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        shape = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volumeNode).shape
        assert shape == np.shape(slicer.util.arrayFromVolume(volumeNode))
