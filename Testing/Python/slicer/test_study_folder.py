"""A study that several programs have open at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from dicom_series import write_series
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


def test_scans_of_the_study_are_not_new_however_they_were_opened(application, tmp_path: Path) -> None:
    import BRBSTraining
    from BRBSTrainingLib.Annotation import scanNode
    from BRBSTrainingLib.SceneScans import SOURCE_ATTRIBUTE
    from BRBSTrainingLib.StudySession import StudySession

    folder, array = tmp_path / "Serie", np.random.default_rng(0).integers(0, 1000, (6, 8, 10)).astype(np.int16)
    write_series(folder, array[:2], series=1)
    write_series(folder, array, series=2)
    session = StudySession(BRBSTraining.BRBSTrainingLogic())
    session.create(str(tmp_path / "study"))
    session.addFiles([folder, loaded := tmp_path / "Berta.nii.gz"])
    scanNode(folder)
    opened = addSubject(1)[0]
    opened.SetAttribute(SOURCE_ATTRIBUTE, str(loaded))
    assert session.newVolumes() == []
    other = slicer.util.loadVolume(str(folder / "IM1999"))
    assert session.newVolumes() == [other]
    session.close()


def test_what_holds_a_training_up_is_told_while_volumes_are_added(application, tmp_path: Path) -> None:
    import BRBSTraining
    from BRBSTrainingLib.StudySession import StudySession

    session = StudySession(BRBSTraining.BRBSTrainingLogic())
    session.create(str(tmp_path / "study"))
    session.addVolumes([addSubject(0)[0]])
    assert session.blocker == "1 volumes are still being added."
    while session._waiting:
        session.tick()
    assert session.blocker == "The added volumes are still to be checked."
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
