"""A study that several programs have open at once."""

from __future__ import annotations

from pathlib import Path

import slicer
from tiny_study import SCHEMA, SETTINGS, write_study
from training_nodes import addSubject

from BRBSTrainingLib.StudyFolder import StudyFolder


def test_nothing_that_the_other_module_adds_is_lost(scene, tmp_path: Path) -> None:
    files = write_study(tmp_path / "files")
    one = StudyFolder.create(tmp_path / "study")
    other = StudyFolder.open(one.folder)
    one.addUnlabeled(sorted((files / "unlabeled").iterdir()))
    other.addAtlas(files / "unlabeled/scan 100.nii.gz", files / "labels/atlas 0.seg.nrrd")
    one.setSettings(SETTINGS)
    other.addAtlas(files / "images/atlas 1.nii.gz", files / "labels/atlas 1.seg.nrrd")
    one.removeUnlabeled([files / "unlabeled/scan 102.nii.gz"])
    found = StudyFolder.open(one.folder).study
    assert [atlas.image.name for atlas in found.atlases] == ["scan 100.nii.gz", "atlas 1.nii.gz"]
    assert [path.name for path in found.unlabeled] == ["scan 101.nii.gz"]
    assert found.settings == SETTINGS and found.schema.values == SCHEMA.values


def test_refresh_tells_whether_there_was_something_new(scene, tmp_path: Path) -> None:
    one = StudyFolder.create(tmp_path / "study")
    other = StudyFolder.open(one.folder)
    one.setSettings(SETTINGS)
    assert other.refresh() and not other.refresh() and not one.refresh()
    (one.folder / "study.json").unlink()
    assert not other.refresh()


def test_what_the_modules_have_made_is_no_scan(application, tmp_path: Path) -> None:
    import BRBSTraining
    from BRBSTrainingLib.SceneScans import INSPECTOR, SAMPLE, UNCERTAINTY
    from BRBSTrainingLib.StudySession import StudySession

    session = StudySession(BRBSTraining.BRBSTrainingLogic())
    session.create(str(tmp_path / "study"))
    for attribute in (None, SAMPLE, INSPECTOR, UNCERTAINTY):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", attribute or "scan")
        if attribute:
            node.SetAttribute(attribute, "1")
    assert [node.GetName() for node in session.newVolumes()] == ["scan"]
    session.close()


def test_volumes_of_the_next_scene_are_not_added_for_waiting_ones(application, tmp_path: Path) -> None:
    import BRBSTraining
    from BRBSTrainingLib.StudySession import StudySession

    session = StudySession(BRBSTraining.BRBSTrainingLogic())
    session.create(str(tmp_path / "study"))
    waiting = addSubject(0)[0]
    before = waiting.GetID()
    session.addVolumes([waiting])
    slicer.mrmlScene.Clear(0)
    assert addSubject(1)[0].GetID() == before
    while session.hasMore:
        session.tick()
    assert session.study.study.unlabeled == []
    session.close()
