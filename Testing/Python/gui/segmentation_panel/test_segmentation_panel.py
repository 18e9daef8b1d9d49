"""The segmentation panel through its widgets: what users click, what they then see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from panel_user import click, wait
from PyQt5.QtCore import Qt
from standin.scripted_module import leaveModule
from tiny_model import tiny_bundle
from training_nodes import addSubject


def segment(widget, seed: int = 0):
    """Segments a subject by clicking; returns its volume node and the result."""
    volumeNode = addSubject(seed)[0]
    widget.ui.inputSelector.setCurrentNode(volumeNode)
    click(widget.ui.applyButton)
    wait(lambda: not widget.panel._run.active or widget.ui.noticeLabel.text)
    return volumeNode, widget.panel._run.node


def test_apply_tells_what_is_missing(widget, ui) -> None:
    assert "scan" in ui.applyButton.toolTip
    assert not ui.applyButton.enabled
    click(ui.removeModelButton)
    assert "model" in ui.applyButton.toolTip
    assert "No model yet" in ui.modelLabel.text
    assert not ui.exportModelButton.enabled


def test_model_taken_off_the_list_is_chosen_when_it_is_used(widget, ui, model: Path) -> None:
    click(ui.removeModelButton)
    widget.useModel(model)
    assert ui.modelSelector.currentText == "Nieren 001"
    (model / "model.json").write_text("{", encoding="utf-8")
    widget.useModel(model)
    assert "model.json" in ui.noticeLabel.text


def test_model_is_described(ui) -> None:
    assert ui.modelSelector.currentText == "Nieren 001"
    for part in ("Hülle, Kern", "2 atlases", "0.876", "2026-01-31"):
        assert part in ui.modelLabel.text


def test_model_is_exported_and_imported(ui, tmp_path: Path, monkeypatch) -> None:
    import qt

    settings = str(tmp_path / "Slicer.ini")
    monkeypatch.setattr(type(slicer.app), "slicerUserSettingsFilePath", settings, raising=False)
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *a: "")  # cancelled
    click(ui.exportModelButton)
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *a: str(tmp_path / "für Erika"))
    click(ui.exportModelButton)
    file = tmp_path / "für Erika.zip"
    assert file.is_file() and str(file) in ui.noticeLabel.text
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *a: "")  # cancelled
    click(ui.importModelButton)
    assert ui.modelSelector.count == 1
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *a: str(file))
    click(ui.importModelButton)
    assert ui.modelSelector.currentText == "für Erika" and "für Erika" in ui.noticeLabel.text
    assert "Hülle, Kern" in ui.modelLabel.text and ui.modelSelector.count == 2
    file.write_bytes(file.read_bytes()[:100])
    click(ui.importModelButton)
    assert str(file) in ui.noticeLabel.text and ui.modelSelector.count == 2


def test_folder_of_a_model_is_added(ui, tmp_path: Path, monkeypatch) -> None:
    import qt

    tiny_bundle().save(tmp_path / "vom Cluster")
    (tmp_path / "leer").mkdir()
    for chosen, current in (("", "Nieren 001"), ("leer", "Nieren 001"), ("vom Cluster", "vom Cluster")):
        folder = str(tmp_path / chosen) if chosen else ""
        monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *a, folder=folder: folder)
        click(ui.addModelButton)
        assert ui.modelSelector.currentText == current and chosen in ui.noticeLabel.text


def test_models_of_one_name_are_told_apart_by_their_folders(widget, ui, tmp_path: Path) -> None:
    folders = [tmp_path / "Herz/Modell", tmp_path / "Leber/Modell"]
    for folder in folders:
        tiny_bundle().save(folder)
        widget.useModel(folder)
        assert str(folder) in ui.modelSelector.toolTip and ui.modelLabel.toolTip == str(folder)
    tips = [ui.modelSelector.itemData(index, Qt.ToolTipRole) for index in range(ui.modelSelector.count)]
    assert {str(folder) for folder in folders} < set(tips)


def test_message_is_seen_in_the_status_bar_too(widget, ui, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda *message: told.append(message))
    click(ui.removeModelButton)
    assert told == [(ui.noticeLabel.text, 5000)]


def test_one_click_shows_structures_with_volume_and_confidence(widget, ui) -> None:
    _volumeNode, node = segment(widget)
    rows = [[ui.resultTable.item(row, column).text() for column in range(3)] for row in range(2)]
    assert [row[0] for row in rows] == ["Hülle", "Kern"]
    for row, value in zip(rows, widget.logic.confidence(node).values()):
        assert row[1] == f"{value:.2f}"
    assert ui.applyButton.enabled and not ui.cancelButton.enabled
    click(ui.tableButton)
    assert slicer.util.getNodesByClass("vtkMRMLTableNode")
    click(ui.show3DButton)
    assert node.GetDisplayNode().GetVisibility3D()
    assert slicer.app.recorded.messages == []


def test_corrected_result_goes_back_into_the_study(widget, ui, model: Path) -> None:
    import BRBSTraining

    volumeNode, _node = segment(widget)
    volumeNode.SetName("Berta")
    click(ui.editButton)
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSourceVolumeNode() is volumeNode
    assert slicer.app.recorded.modules == ["SegmentEditor"]
    widget.enter()
    click(ui.addToStudyButton)
    atlases = BRBSTraining.BRBSTrainingLogic().openStudy(model.parent.parent).study.atlases
    assert [atlas.name for atlas in atlases] == ["atlas 0", "Berta"]
    assert "Berta is an atlas" in ui.noticeLabel.text


def test_result_goes_into_the_study_of_the_model_that_has_found_it(widget, ui, tmp_path: Path) -> None:
    import BRBSTraining

    assert not ui.addToStudyButton.enabled and "Segment a scan" in ui.addToStudyButton.toolTip
    volumeNode, node = segment(widget)
    tip = ui.addToStudyButton.toolTip
    assert ui.addToStudyButton.enabled
    BRBSTraining.BRBSTrainingLogic().createStudy(tmp_path / "Leber")
    for folder, enabled in ((tmp_path / "Leber/models/001", True), (tmp_path / "fremd", False)):
        tiny_bundle().save(folder)
        widget.useModel(folder)
        ui.inputSelector.setCurrentNode(volumeNode)
        ui.outputSelector.setCurrentNode(node)
        click(ui.applyButton)
        wait(lambda: not widget.panel._run.active)
        assert ui.addToStudyButton.enabled == enabled
        assert node.GetAttribute("BRBS.Study") == (str(tmp_path / "Leber") if enabled else None)
        assert (ui.addToStudyButton.toolTip == tip) == enabled
    assert "not trained in a study" in ui.addToStudyButton.toolTip
    node.SetAttribute("BRBS.Study", "anywhere")
    slicer.mrmlScene.RemoveNode(volumeNode)
    widget.enter()
    assert not ui.addToStudyButton.enabled and "no longer in the scene" in ui.addToStudyButton.toolTip


def test_corrected_result_is_measured_anew_and_keeps_its_confidence(widget, ui) -> None:
    volumeNode, node = segment(widget)
    confidence = [ui.resultTable.item(row, 1).text() for row in range(2)]
    mask = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, np.uint8)
    mask[1:3, 2:5, 4:9] = 1
    segmentId = node.GetSegmentation().GetNthSegmentID(1)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentId, volumeNode)
    node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetNthSegmentID(0))
    node.GetSegmentation().AddEmptySegment("", "Zyste")
    widget.enter()
    rows = [[ui.resultTable.item(row, column).text() for column in range(3)] for row in range(2)]
    volume = mask.sum() * 1.0 * 1.5 * 2.0 / 1000
    assert rows == [["Kern", confidence[1], f"{volume:.2f}"], ["Zyste", "not known", "0.00"]]
    assert "before corrections" in ui.resultTable.item(0, 1).toolTip()


def test_structure_not_found_has_no_confidence(widget, ui) -> None:
    from BRBSSegmentationLib.ResultNode import noteConfidence

    node = segment(widget)[1]
    noteConfidence(node, {"Hülle": None, "Kern": 1.0})
    widget.enter()
    assert [ui.resultTable.item(row, 1).text() for row in range(2)] == ["not found", "1.00"]
    assert "expects nothing" in ui.resultTable.item(0, 1).toolTip()
    icons = [ui.resultTable.item(row, 1).icon().pixmap(16, 16).toImage() for row in range(2)]
    assert icons[0] != icons[1]
    click(ui.tableButton)
    assert np.isnan(widget.logic.measurements(node).GetTable().GetValue(0, 2).ToDouble())


def test_bad_scan_is_told_and_apply_is_ready_again(widget, ui) -> None:
    volumeNode = addSubject(0)[0]
    slicer.util.arrayFromVolume(volumeNode)[:] = 7
    slicer.util.arrayFromVolumeModified(volumeNode)
    ui.inputSelector.setCurrentNode(volumeNode)
    click(ui.applyButton)
    wait(lambda: "same value" in ui.stateLabel.text)
    assert ui.applyButton.enabled
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[-1].GetName() == "Scan 0 segmentation"


def test_cancel_leaves_the_scene_alone(widget, ui) -> None:
    volumeNode = addSubject(0)[0]
    count = len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
    ui.inputSelector.setCurrentNode(volumeNode)
    click(ui.applyButton)
    click(ui.cancelButton)
    assert "Cancelled" in ui.stateLabel.text
    assert ui.applyButton.enabled
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == count


def test_uncertainty_volume_on_request(widget, ui) -> None:
    ui.uncertaintyCheckBox.setChecked(True)
    segment(widget)
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert any(name.endswith("uncertainty") for name in names)


def test_stray_pieces_stay_on_request(widget, ui) -> None:
    segment(widget)
    assert "stray pieces were left out" in ui.stateLabel.text  # a network that has learned nothing makes many
    ui.strayPiecesCheckBox.setChecked(False)
    segment(widget, seed=1)
    assert "Done" in ui.stateLabel.text and "stray" not in ui.stateLabel.text


def test_scene_close_while_a_scan_is_segmented(widget, ui) -> None:
    ui.inputSelector.setCurrentNode(addSubject(0)[0])
    click(ui.applyButton)
    slicer.mrmlScene.Clear(0)
    assert "Cancelled" in ui.stateLabel.text and not ui.cancelButton.enabled
    assert not ui.applyButton.enabled
    assert not ui.editButton.enabled
    segment(widget)


def test_result_is_not_taken_for_a_node_of_the_next_scene(widget, ui) -> None:
    before = segment(widget)[1].GetID()
    slicer.mrmlScene.Clear(0)
    while (made := addSubject(1)[1].GetID()) != before:
        assert made < before
    widget.enter()
    assert ui.resultTable.rowCount == 0 and not ui.editButton.enabled


def test_button_tells_whether_the_result_is_in_3d(widget, ui) -> None:
    node = segment(widget)[1]
    click(ui.show3DButton)
    assert ui.show3DButton.checked
    ui.outputSelector.setCurrentNode(node)
    assert segment(widget, seed=1)[1] is node
    assert not ui.show3DButton.checked  # the new structures have no surface
    click(ui.show3DButton)
    assert node.GetSegmentation().ContainsRepresentation("Closed surface") and node.GetDisplayNode().GetVisibility3D()
    widget.enter()
    assert ui.show3DButton.checked
    node.GetDisplayNode().SetVisibility3D(False)
    widget.enter()
    assert not ui.show3DButton.checked


def test_views_show_the_scan_of_the_result(widget, ui) -> None:
    scan, other = addSubject(0)[0], addSubject(1)[0]
    ui.inputSelector.setCurrentNode(scan)
    click(ui.applyButton)
    ui.inputSelector.setCurrentNode(other)
    wait(lambda: not widget.panel._run.active)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {composite.GetBackgroundVolumeID() for composite in composites} == {scan.GetID()}


def test_views_keep_what_is_chosen_while_the_confidence_is_computed(widget, ui) -> None:
    scan, other = addSubject(0)[0], addSubject(1)[0]
    ui.inputSelector.setCurrentNode(scan)
    ui.uncertaintyCheckBox.setChecked(True)
    click(ui.applyButton)
    while widget.panel._run.state == "sent":
        widget.panel.tick()
    slicer.util.setSliceViewerLayers(background=other)
    wait(lambda: not widget.panel._run.active)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {composite.GetBackgroundVolumeID() for composite in composites} == {other.GetID()}
    assert ui.resultTable.item(0, 1).text() != "not known"


def test_result_of_a_saved_scene_is_taken_up_again(widget, ui, model: Path, tmp_path: Path) -> None:
    import BRBSTraining

    first = segment(widget)[1]
    second = segment(widget, seed=1)[1]
    shown = [[ui.resultTable.item(row, column).text() for column in range(3)] for row in range(2)]
    ui.outputSelector.setCurrentNode(first)
    assert [ui.resultTable.item(row, 1).text() for row in range(2)] == confidences(widget, first)
    ui.outputSelector.setCurrentNode(None)
    (tmp_path / "Szene").mkdir()
    assert slicer.mrmlScene.SaveSceneToSlicerDataBundleDirectory(str(tmp_path / "Szene"), None)
    slicer.mrmlScene.Clear(0)
    assert ui.resultTable.rowCount == 0
    slicer.mrmlScene.SetURL(str(next((tmp_path / "Szene").glob("*.mrml"))))
    assert slicer.mrmlScene.Connect()
    assert [[ui.resultTable.item(row, column).text() for column in range(3)] for row in range(2)] == shown
    assert widget.panel._result.node.GetName() == second.GetName()
    click(ui.addToStudyButton)
    atlases = BRBSTraining.BRBSTrainingLogic().openStudy(model.parent.parent).study.atlases
    assert [atlas.name for atlas in atlases] == ["atlas 0", "Scan 1"]


def confidences(widget, node) -> list[str]:
    return [f"{value:.2f}" for value in widget.logic.confidence(node).values()]


def test_engine_is_asked_again_until_it_can_be_used(widget, ui, monkeypatch) -> None:
    from BRBSTrainingLib.EngineReport import EngineReport

    wait(lambda: ui.deviceSelector.count == 2)
    answers = []

    def ask(report, timed: bool = True) -> None:
        report.close()
        report.content, report.problem = {"devices": []}, answers.pop(0)

    monkeypatch.setattr(EngineReport, "ask", ask)
    widget.enter()  # nothing has changed
    widget.logic.engine.chosenPython = "/opt/python"
    answers += ["/opt/python: cannot run the engine", "PyTorch is missing", ""]
    for problem in list(answers):
        widget.enter()
        assert (problem in ui.noticeLabel.text) if problem else ui.noticeLabel.text == ""
    widget.enter()
    assert answers == []


def test_scene_of_others_gets_no_parameter_node(widget, ui, model: Path, tmp_path: Path) -> None:
    from BRBSTrainingLib.FormConnection import sceneHasParameters

    slicer.mrmlScene.Clear(0)
    assert sceneHasParameters("BRBSSegmentation")  # the module is shown
    ui.batchOutputEdit.currentPath = str(tmp_path / "out")
    slicer.mrmlScene.SetURL(str(tmp_path / "Szene.mrml"))
    assert slicer.mrmlScene.Commit()
    leaveModule(widget)
    slicer.mrmlScene.Clear(0)
    assert not sceneHasParameters("BRBSSegmentation")
    widget.useModel(model)
    widget.panel.tick()
    assert slicer.mrmlScene.Commit(str(tmp_path / "Fremd.mrml"))
    assert str(tmp_path) not in (tmp_path / "Fremd.mrml").read_text()
    slicer.mrmlScene.SetURL(str(tmp_path / "Szene.mrml"))
    assert slicer.mrmlScene.Connect()
    assert widget.panel._form.parameters.batchFolder == str(tmp_path / "out")
    slicer.mrmlScene.SetURL(str(tmp_path / "Fremd.mrml"))
    assert slicer.mrmlScene.Connect()
    assert not sceneHasParameters("BRBSSegmentation") and widget.panel._form.parameters is None
    widget.enter()
    assert sceneHasParameters("BRBSSegmentation") and ui.modelSelector.currentText == "Nieren 001"


def test_cancel_tells_what_stays(ui) -> None:
    assert "stays" in ui.cancelButton.toolTip and "confidence" in ui.cancelButton.toolTip
