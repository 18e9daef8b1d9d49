"""What nodes become in a study: each a file of its own, renewed only by the same node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicer
from tiny_study import SETTINGS
from training_nodes import addSubject


@pytest.fixture
def logic(application):
    import BRBSTraining

    return BRBSTraining.BRBSTrainingLogic()


@pytest.fixture
def study(logic, tmp_path: Path):
    """A study of one atlas and one unlabeled scan of the scene."""
    study = logic.createStudy(tmp_path / "Studie")
    study.setSettings(SETTINGS)
    logic.addAtlas(study, *addSubject(0))
    logic.addUnlabeled(study, addSubject(1)[0])
    return study


def cloneOf(node):
    """A copy of a node as the subject hierarchy makes it, attributes included."""
    clone = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), f"{node.GetName()} Copy")
    clone.CopyContent(node)
    return clone


def files(study) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in study.folder.rglob("*.nrrd")}


def test_one_segmentation_on_two_scans_makes_two_label_maps(logic, study) -> None:
    (volumeNode, segmentationNode), (other, _) = addSubject(5), addSubject(6)
    logic.addAtlas(study, volumeNode, segmentationNode)
    before = files(study)
    logic.addAtlas(study, other, segmentationNode)
    assert before.items() <= files(study).items()
    assert len({atlas.labels for atlas in study.study.atlases}) == len(study.study.atlases) == 3


def test_a_clone_is_a_scan_of_its_own(logic, study) -> None:
    volumeNode, segmentationNode = addSubject(7)
    logic.addAtlas(study, volumeNode, segmentationNode)
    before = files(study)
    clone, drawn = cloneOf(volumeNode), cloneOf(segmentationNode)
    slicer.util.arrayFromVolume(clone)[:] += np.float32(9)
    slicer.util.arrayFromVolumeModified(clone)
    logic.addAtlas(study, clone, drawn)
    logic.addUnlabeled(study, cloneOf(volumeNode))
    assert before.items() <= files(study).items()
    assert (len(study.study.atlases), len(study.study.unlabeled)) == (3, 2)


def test_starting_a_training_keeps_what_another_slicer_has_added(logic, study) -> None:
    elsewhere = logic.openStudy(study.folder)
    logic.addAtlas(elsewhere, *addSubject(8))
    logic.stopTraining(job := logic.startTraining(study, steps=1, device="cpu"))
    assert logic.waitForJob(job, 60)
    assert len(logic.openStudy(study.folder).study.atlases) == len(study.study.atlases) == 2


def test_a_setting_is_changed_beside_those_that_another_slicer_has_changed(logic, study) -> None:
    logic.openStudy(study.folder).changeSetting("seed", 7)
    study.changeSetting("mix_weight", 0.5)
    settings = logic.openStudy(study.folder).study.settings
    assert (settings.seed, settings.mix_weight) == (7, 0.5)
