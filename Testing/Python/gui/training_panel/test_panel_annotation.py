"""From an unlabeled scan to an atlas in the training panel: what waits, what is said of it, what nothing takes away."""

from __future__ import annotations

from pathlib import Path

import pytest
import slicer
import tiny_study
from panel_steps import READY, create, statuses, texts
from panel_user import click, wait
from standin.scripted_module import openModule
from training_nodes import addSubject, loadSubject


@pytest.fixture
def annotating(widget, ui, tmp_path: Path):
    """The widget with a study of one atlas and one unlabeled scan, which has just been opened in the Segment Editor."""
    volumeNode, finished = addSubject(0)
    create(ui, tmp_path / "Studie")
    ui.atlasVolumeSelector.setCurrentNode(volumeNode)
    ui.atlasSegmentationSelector.setCurrentNode(finished)
    click(ui.addAtlasButton)
    ui.scanVolumeSelector.setCurrentNode(loadSubject(tmp_path / "Berta.nrrd", 1))
    click(ui.addScanButton)
    wait(lambda: statuses(ui.scanTable) == [READY])
    assert not ui.finishAnnotationButton.enabled and "being annotated" in ui.finishAnnotationButton.toolTip
    ui.scanTable.selectRow(0)
    click(ui.annotateButton)
    return widget


def editor():
    return slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")


def draw(*structures: str) -> None:
    """What a user does in the Segment Editor."""
    node, volumeNode = editor().GetSegmentationNode(), editor().GetSourceVolumeNode()
    for label in tiny_study.SCHEMA.labels:
        mask = (tiny_study.subject(1)[1] == label.value).astype("uint8")
        if label.name in structures:
            segmentId = node.GetSegmentation().GetSegmentIdBySegmentName(label.name)
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentId, volumeNode)


def test_structures_are_ready_to_be_drawn(annotating) -> None:
    assert slicer.app.recorded.modules == ["SegmentEditor"]
    segmentation = editor().GetSegmentationNode().GetSegmentation()
    assert [segmentation.GetNthSegment(index).GetName() for index in range(2)] == ["Hülle", "Kern"]
    annotating.enter()
    assert "Berta.nrrd is being annotated; nothing is drawn yet." in annotating.ui.noticeLabel.text
    assert statuses(annotating.ui.scanTable) == ["annotating 0 / 2"]
    assert "Nothing is drawn yet" in annotating.ui.finishAnnotationButton.toolTip
    assert not annotating.ui.finishAnnotationButton.enabled


def test_half_an_annotation_waits_and_is_gone_on_with(annotating) -> None:
    ui = annotating.ui
    draw("Hülle")
    for _ in range(2):
        annotating.enter()
        assert "still empty: Kern." in ui.noticeLabel.text
        assert statuses(ui.scanTable) == ["annotating 1 / 2"]
        assert "still empty: Kern." in ui.scanTable.item(0, 0).toolTip()
        assert ui.atlasTable.rowCount == 1
    begun = editor().GetSegmentationNode()
    ui.scanTable.selectRow(0)
    click(ui.annotateButton)
    assert editor().GetSegmentationNode() is begun
    draw("Kern")
    annotating.enter()
    assert "every structure has something drawn" in ui.noticeLabel.text
    click(ui.finishAnnotationButton)
    wait(lambda: statuses(ui.atlasTable) == [READY, READY])
    assert ui.scanTable.rowCount == 0
    assert texts(ui.atlasTable)[1][0] == "Berta.nrrd"
    annotating.enter()
    assert (ui.atlasTable.rowCount, "annotated" in ui.noticeLabel.text) == (2, False)


def test_incomplete_annotation_is_told_when_it_becomes_an_atlas(annotating) -> None:
    ui = annotating.ui
    draw("Hülle")
    annotating.enter()
    click(ui.finishAnnotationButton)
    assert "Added Berta as an atlas. Nothing is drawn for Kern." in ui.noticeLabel.text
    wait(lambda: statuses(ui.atlasTable) == [READY, "structure missing"])


def test_erased_annotation_is_empty_again(annotating) -> None:
    draw("Hülle", "Kern")
    node = editor().GetSegmentationNode()
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segmentId)[:] = 0
    annotating.enter()
    assert statuses(annotating.ui.scanTable) == ["annotating 0 / 2"]


def test_annotation_is_in_the_saved_scene(annotating, tmp_path: Path) -> None:
    import BRBSTraining

    draw("Hülle")
    (tmp_path / "Szene").mkdir()
    assert slicer.mrmlScene.SaveSceneToSlicerDataBundleDirectory(str(tmp_path / "Szene"), None)
    slicer.mrmlScene.Clear(0)
    wait(lambda: statuses(annotating.ui.scanTable) == [READY])  # there is none in an empty scene
    annotating.cleanup()
    slicer.mrmlScene.SetURL(str(next((tmp_path / "Szene").glob("*.mrml"))))
    assert slicer.mrmlScene.Connect()
    later = openModule(BRBSTraining.BRBSTrainingWidget)
    try:
        assert statuses(later.ui.scanTable) == ["annotating 1 / 2"]
        assert "still empty: Kern." in later.ui.noticeLabel.text
        click(later.ui.finishAnnotationButton)  # there is only one
        wait(lambda: statuses(later.ui.atlasTable) == [READY, "structure missing"])
        assert later.ui.scanTable.rowCount == 0
    finally:
        later.cleanup()


def test_deleted_nodes_do_no_harm(annotating) -> None:
    ui = annotating.ui
    draw("Hülle", "Kern")
    slicer.mrmlScene.RemoveNode(editor().GetSourceVolumeNode())
    annotating.enter()
    assert statuses(ui.scanTable) == ["annotating 2 / 2"]
    node = editor().GetSegmentationNode()
    click(ui.annotateButton)
    assert editor().GetSegmentationNode() is node and editor().GetSourceVolumeNode().GetName() == "Berta"
    annotating.enter()
    slicer.mrmlScene.RemoveNode(node)
    click(ui.finishAnnotationButton)
    assert "no longer in the scene" in ui.noticeLabel.text
    assert statuses(ui.scanTable) == [READY] and ui.atlasTable.rowCount == 1
