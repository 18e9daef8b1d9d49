"""The module's self-test; runs in Slicer and wherever its libraries are."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import slicer

from brbs.synthetic import STRUCTURES
from BRBSTraining import BRBSTrainingLogic
from BRBSTrainingLib.SelfTest import STEPS, TIMEOUT_SECONDS, engineProblem, subjectNodes


def segmentTinyScan(logic) -> str:
    """Trains a model for a few steps and segments a scan with it: twice into the scene, once as a batch of files.

    Returns:
        "segmented", or why the engine cannot compute here.

    Raises:
        AssertionError: something is not as it should be.
    """
    training = BRBSTrainingLogic()
    problem = engineProblem(training)
    if problem:
        return problem
    with tempfile.TemporaryDirectory(prefix="BRBS Prüfung ", ignore_cleanup_errors=True) as folder:
        study = training.createStudy(Path(folder) / "study")
        training.addAtlas(study, *subjectNodes(0))
        for number in (1, 2):
            training.addUnlabeled(study, subjectNodes(number)[0])
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
    return "segmented"


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
