"""The training panel through its widgets: what users click, what they then see."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import slicer
import tiny_study
from panel_user import click, wait
from PyQt5.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PyQt5.QtGui import QDragEnterEvent, QDropEvent
from PyQt5.QtWidgets import QApplication
from standin.scripted_module import openModule
from tiny_study import SETTINGS, write_study
from training_nodes import addSubject

import brbs.settings
from brbs.settings import Preset, Settings

READY = "ready"
ENDED = re.compile("has (finished|stopped) after")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The tiny study as files, in folders images, labels and unlabeled."""
    return write_study(tmp_path / "Dateien für alle")


@pytest.fixture(scope="session")
def report() -> dict:
    """What the engine's Python says of itself; asked once, as it takes seconds."""
    command = [sys.executable, "-m", "brbs.device_report"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


@pytest.fixture
def widget(application, monkeypatch, report):
    """The module's widget, set up, with a preset that is done in a moment."""
    import BRBSTraining
    from BRBSTrainingLib.EngineReport import EngineReport

    ask = EngineReport.ask

    def askOrRemember(asked) -> None:
        if asked._engine.chosenPython:
            ask(asked)
        else:
            asked.content = dict(report)

    monkeypatch.setattr(EngineReport, "ask", askOrRemember)
    short = Preset(SETTINGS, 6, "a few steps")
    monkeypatch.setitem(brbs.settings.PRESETS, "fast", short)
    monkeypatch.setitem(brbs.settings.PRESETS, "balanced", short)
    made = openModule(BRBSTraining.BRBSTrainingWidget)
    yield made
    for job in made.logic._jobs.values():
        job.kill()
    made.cleanup()


@pytest.fixture
def ui(widget):
    return widget.ui


def texts(table) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def statuses(table) -> list[str]:
    return [row[1] for row in texts(table)]


def drop(table, *paths: Path) -> None:
    """Drops files on a table as a file manager does."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    view = table.viewport()
    enter = QDragEnterEvent(QPoint(5, 5), Qt.CopyAction, data, Qt.LeftButton, Qt.NoModifier)
    QApplication.sendEvent(view, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(view, QDropEvent(QPointF(5, 5), Qt.CopyAction, data, Qt.LeftButton, Qt.NoModifier))


def create(ui, folder: Path) -> None:
    ui.studyPathEdit.currentPath = str(folder)
    click(ui.createStudyButton)


def fill(widget, files: Path, folder: Path) -> None:
    """Creates a study of files and waits until all of it is checked and the engine has answered."""
    ui = widget.ui
    create(ui, folder)
    drop(ui.atlasTable, files)
    wait(lambda: ui.atlasTable.rowCount == 2)
    widget.panel.session.changeStudy(lambda study: study.setSettings(SETTINGS))
    wait(lambda: set(statuses(ui.atlasTable) + statuses(ui.scanTable)) == {READY})
    wait(lambda: not widget.panel.session.report.busy)
    wait(lambda: ui.startButton.enabled)


def test_start_tells_what_is_missing(ui, files: Path, tmp_path: Path) -> None:
    assert not ui.startButton.enabled
    assert "study first" in ui.startButton.toolTip
    create(ui, tmp_path / "Studie")
    wait(lambda: "no atlas" in ui.startButton.toolTip)
    assert not ui.startButton.enabled


def test_folder_of_pairs_is_dropped(widget, ui, files: Path, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    drop(ui.atlasTable, files)
    wait(lambda: ui.atlasTable.rowCount == 2)
    assert ui.scanTable.rowCount == 3
    wait(lambda: statuses(ui.atlasTable) == [READY] * 2 and statuses(ui.scanTable) == [READY] * 3)
    assert [row[2] for row in texts(ui.atlasTable)] == ["2 / 2", "2 / 2"]
    assert [row[1:3] for row in texts(ui.structuresTable)] == [["Hülle", "3"], ["Kern", "70"]]
    assert texts(ui.scanTable)[0][2:] == ["16 × 20 × 16", "1 × 1.5 × 2"]
    assert "3 scans" in ui.scanSummaryLabel.text
    assert all(path.is_file() for path in files.rglob("*.nii.gz"))


def test_single_files_are_dropped(ui, files: Path, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    drop(ui.atlasTable, files / "images/atlas 1.nii.gz", files / "labels/atlas 1.seg.nrrd")
    wait(lambda: statuses(ui.atlasTable) == [READY])
    drop(ui.atlasTable, files / "labels/atlas 0.seg.nrrd")
    wait(lambda: "no pair" in ui.noticeLabel.text)
    assert ui.atlasTable.rowCount == 1


def test_files_are_chosen(ui, files: Path, tmp_path: Path, monkeypatch) -> None:
    import qt

    create(ui, tmp_path / "Studie")
    chosen = [str(files / "images/atlas 0.nii.gz"), str(files / "labels/atlas 0.seg.nrrd")]
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileNames", lambda *a: chosen)
    click(ui.addAtlasFilesButton)
    assert ui.atlasTable.rowCount == 1
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileNames", lambda *a: [])  # cancelled
    click(ui.addAtlasFilesButton)
    assert ui.atlasTable.rowCount == 1


def test_atlas_from_the_scene(ui, tmp_path: Path) -> None:
    volumeNode, segmentationNode = addSubject(0)
    create(ui, tmp_path / "Studie")
    assert not ui.addAtlasButton.enabled
    ui.atlasVolumeSelector.setCurrentNode(volumeNode)
    ui.atlasSegmentationSelector.setCurrentNode(segmentationNode)
    click(ui.addAtlasButton)
    wait(lambda: statuses(ui.atlasTable) == [READY])
    assert [row[1] for row in texts(ui.structuresTable)] == ["Hülle", "Kern"]
    slicer.mrmlScene.RemoveNode(volumeNode)
    slicer.mrmlScene.RemoveNode(segmentationNode)
    ui.askEngineButton.click()
    assert statuses(ui.atlasTable) == [READY]


def test_all_volumes_of_the_scene_are_added_one_after_the_other(ui, tmp_path: Path) -> None:
    for seed in range(4):
        addSubject(seed)
    create(ui, tmp_path / "Studie")
    click(ui.addAllScansButton)
    wait(lambda: ui.scanTable.rowCount == 4)
    wait(lambda: set(statuses(ui.scanTable)) == {READY})
    click(ui.addAllScansButton)
    assert "no volume that is not in the study" in ui.noticeLabel.text


@pytest.mark.parametrize("spoil, status, remedy", [
    (lambda atlas: atlas.labels.unlink(), "file gone", "put it back"),
    (lambda atlas: atlas.image.write_bytes(b"x"), "unusable", "copy"),
])  # fmt: skip
def test_broken_atlas_is_marked_and_told(widget, ui, files: Path, tmp_path: Path, spoil, status, remedy) -> None:
    fill(widget, files, tmp_path / "Studie")
    spoil(widget.panel.session.study.study.atlases[0])
    widget.panel.session.changeStudy(lambda study: None)
    wait(lambda: statuses(ui.atlasTable) == [status, READY])
    assert remedy in ui.atlasTable.item(0, 0).toolTip()
    wait(lambda: not ui.startButton.enabled)
    assert remedy in ui.startButton.toolTip
    ui.atlasTable.selectRow(0)
    click(ui.removeAtlasButton)
    wait(lambda: ui.startButton.enabled)


def test_other_geometry_is_marked(widget, ui, files: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    labels = tiny_study.on_grid(tiny_study.subject(0)[1], spacing=(1.0, 1.5, 2.5))
    (files / "labels/atlas 0.seg.nrrd").unlink()
    sitk.WriteImage(labels, str(files / "labels/atlas 0.nii.gz"))
    create(ui, tmp_path / "Studie")
    drop(ui.atlasTable, files)
    wait(lambda: "geometry differs" in statuses(ui.atlasTable))
    assert "resample" in ui.atlasTable.item(statuses(ui.atlasTable).index("geometry differs"), 0).toolTip()


def test_scan_unlike_the_atlases_is_flagged(widget, ui, files: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    large = tiny_study.on_grid(tiny_study.subject(300)[0], spacing=(4.0, 6.0, 8.0))
    sitk.WriteImage(large, str(files / "unlabeled/large.nii.gz"))
    create(ui, tmp_path / "Studie")
    drop(ui.atlasTable, files)
    wait(lambda: statuses(ui.scanTable).count("differs") == 1)
    assert "1 flagged" in ui.scanSummaryLabel.text


def test_structures_are_edited(widget, ui, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    click(ui.addStructureButton)
    click(ui.addStructureButton)
    ui.structuresTable.item(0, 1).setText("Leber")
    ui.structuresTable.item(1, 2).setText("17")
    assert [label.name for label in widget.panel.session.study.study.schema.labels][0] == "Leber"
    assert [label.value for label in widget.panel.session.study.study.schema.labels] == [1, 17]
    ui.structuresTable.item(1, 1).setText("LEBER")
    assert "name of its own" in ui.noticeLabel.text
    assert len({row[1] for row in texts(ui.structuresTable)}) == 2
    ui.structuresTable.item(1, 2).setText("x")
    assert "no whole number" in ui.noticeLabel.text
    ui.structuresTable.selectRow(0)
    click(ui.removeStructureButton)
    assert ui.structuresTable.rowCount == 1


def test_structure_held_by_an_atlas_stays(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    ui.structuresTable.selectRow(0)
    assert not ui.removeStructureButton.enabled


def test_missing_structure_is_flagged_but_trainable(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    click(ui.addStructureButton)
    wait(lambda: statuses(ui.atlasTable) == ["structure missing"] * 2)
    assert ui.startButton.enabled


def test_advanced_form_lists_every_setting_and_refuses_bad_values(widget, ui, files: Path, tmp_path: Path) -> None:
    from dataclasses import fields

    fill(widget, files, tmp_path / "Studie")
    form = ui.advancedGroup
    edits = {item.name: form.findChild(qtWidget(), f"setting_{item.name}") for item in fields(Settings)}
    assert all(edits.values())
    edit = edits["learning_rate"]
    edit.text = "0.005"
    edit.editingFinished.emit()
    assert widget.panel.session.study.study.settings.learning_rate == 0.005
    edit.text = "-1"
    edit.editingFinished.emit()
    assert "learning_rate" in ui.noticeLabel.text
    assert edit.text == "0.005"
    edits["spacing"].text = "1 1 2"
    edits["spacing"].editingFinished.emit()
    assert widget.panel.session.study.study.settings.spacing == (1.0, 1.0, 2.0)


def qtWidget():
    import qt

    return qt.QWidget


def test_paper_preset_brings_its_settings(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    choose(ui.presetSelector, "paper")
    assert widget.panel.session.study.study.settings == brbs.settings.PRESETS["paper"].settings


def test_training_from_start_to_model(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: not ui.startButton.enabled, 5)
    assert ui.stopButton.enabled
    wait(lambda: ENDED.search(ui.stateLabel.text))
    wait(lambda: "BRBS Segmentation" in ui.noticeLabel.text)
    assert ui.progressBar.value == 1000
    assert not ui.stopButton.enabled
    assert ui.openModelButton.enabled
    assert slicer.app.recorded.messages == []
    tables = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert any(table.GetNumberOfRows() > 0 for table in tables)
    ui.logGroup.collapsed = False
    wait(lambda: "finished after 6 steps" in ui.logText.plainText)
    click(ui.copyLogButton)
    assert "finished after 6 steps" in QApplication.clipboard().text()


@pytest.fixture
def long(monkeypatch):
    """The preset goes on until it is stopped."""
    monkeypatch.setitem(brbs.settings.PRESETS, "balanced", Preset(SETTINGS, 1_000_000, "long"))


def test_pause_stop_and_go_on(widget, long, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: ui.pauseButton.enabled and widget.panel.session.job.events())
    click(ui.pauseButton)
    wait(lambda: "rests" in ui.stateLabel.text)
    assert ui.pauseButton.text == "Resume"
    click(ui.pauseButton)
    wait(lambda: "runs" in ui.stateLabel.text)
    click(ui.sampleButton)
    wait(lambda: slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
    click(ui.stopButton)
    assert not ui.stopButton.enabled
    wait(lambda: ENDED.search(ui.stateLabel.text))
    slicer.app.recorded.answer = True
    click(ui.startButton)
    wait(lambda: ui.pauseButton.enabled)
    assert len(widget.panel.session.study.modelFolders) == 1
    click(ui.stopButton)
    wait(lambda: ENDED.search(ui.stateLabel.text))


def test_killed_training_is_shown_as_failed(widget, long, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: widget.panel.session.job is not None and widget.panel.session.job.events())
    widget.panel.session.job.kill()
    wait(lambda: "has failed" in ui.stateLabel.text)
    assert "training on cpu" in ui.stateLabel.text
    assert ui.startButton.enabled
    assert not ui.stopButton.enabled


def test_reopened_study_finds_the_running_training(widget, long, ui, files: Path, tmp_path: Path) -> None:
    import BRBSTraining

    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: widget.panel.session.job is not None and widget.panel.session.job.events())
    slicer.mrmlScene.Clear(0)
    other = openModule(BRBSTraining.BRBSTrainingWidget)  # as after a restart: it knows nothing of the process
    other.ui.studyPathEdit.currentPath = str(tmp_path / "Studie")
    wait(lambda: "runs" in other.ui.stateLabel.text)
    assert not other.ui.startButton.enabled
    wait(lambda: any(table.GetNumberOfRows() for table in slicer.util.getNodesByClass("vtkMRMLTableNode")))
    click(other.ui.stopButton)
    wait(lambda: ENDED.search(other.ui.stateLabel.text) and ENDED.search(ui.stateLabel.text))
    other.cleanup()


def test_annotation_becomes_an_atlas_on_return(widget, ui, tmp_path: Path) -> None:
    volumeNode, finished = addSubject(0)
    create(ui, tmp_path / "Studie")
    ui.atlasVolumeSelector.setCurrentNode(volumeNode)
    ui.atlasSegmentationSelector.setCurrentNode(finished)
    click(ui.addAtlasButton)
    scanNode = addSubject(1)[0]
    ui.scanVolumeSelector.setCurrentNode(scanNode)
    click(ui.addScanButton)
    wait(lambda: statuses(ui.scanTable) == [READY])
    ui.scanTable.selectRow(0)
    click(ui.annotateButton)
    assert slicer.app.recorded.modules == ["SegmentEditor"]
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    drawn = editor.GetSegmentationNode()
    names = [drawn.GetSegmentation().GetNthSegment(n).GetName() for n in range(2)]
    assert names == ["Hülle", "Kern"]
    widget.enter()
    assert "still empty" in ui.noticeLabel.text
    mask = (tiny_study.subject(1)[1] == 3).astype("uint8")
    segment = drawn.GetSegmentation().GetNthSegmentID(0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, drawn, segment, editor.GetSourceVolumeNode())
    widget.enter()
    wait(lambda: statuses(ui.atlasTable) == [READY, "structure missing"])
    assert ui.scanTable.rowCount == 0


def choose(selector, text: str) -> None:
    """Chooses an entry as a user does."""
    selector.setCurrentText(text)
    selector.activated[int].emit(selector.currentIndex)


@pytest.mark.parametrize("settings", [replace(SETTINGS, learning_rate=0.004), brbs.settings.PRESETS["paper"].settings])
def test_another_scene_leaves_the_settings_of_the_study_alone(widget, ui, tmp_path: Path, settings) -> None:
    create(ui, tmp_path / "Studie")
    widget.panel.session.changeStudy(lambda study: study.setSettings(settings))
    for _ in range(2):
        slicer.mrmlScene.Clear(0)
        wait(lambda: ui.presetSelector.count == len(brbs.settings.PRESETS))
        assert widget.panel.session.study.study.settings == settings
    assert widget.logic.openStudy(tmp_path / "Studie").study.settings == settings


def test_scene_close_keeps_the_study(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    slicer.mrmlScene.Clear(0)
    wait(lambda: ui.startButton.enabled)
    assert ui.atlasTable.rowCount == 2
    assert widget.logic.getParameterNode().studyFolder == str(tmp_path / "Studie")


def test_missing_packages_are_told_and_installed_on_yes(widget, ui, tmp_path: Path) -> None:
    wait(lambda: not widget.panel.session.report.busy)
    report = widget.panel.session.report
    assert not ui.engineFrame.visible
    report.content["missing"] = ["tqdm"]
    report.problem = report._complaint()
    widget.panel.session._changed.add("engine")
    widget.panel.tick()
    assert not ui.engineFrame.isHidden()
    assert "tqdm" in ui.engineLabel.text
    click(ui.installButton)
    assert any("tqdm" in str(requirement) for requirement in slicer.app.recorded.installed)


def test_other_python_without_torch_is_told(widget, ui, tmp_path: Path) -> None:
    wait(lambda: not widget.panel.session.report.busy)
    ui.pythonPathEdit.currentPath = str(tmp_path / "no python")
    wait(lambda: "no python" in ui.engineLabel.text)
    assert "engine Python" in ui.engineLabel.text
    assert ui.installButton.isHidden()


def test_folders_and_files_are_chosen_in_dialogues(ui, files: Path, tmp_path: Path, monkeypatch) -> None:
    import qt

    create(ui, tmp_path / "Studie")
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *a: str(files))
    click(ui.addAtlasFolderButton)
    assert (ui.atlasTable.rowCount, ui.scanTable.rowCount) == (2, 3)
    wait(lambda: statuses(ui.scanTable) == [READY] * 3)
    ui.scanTable.selectAll()
    click(ui.removeScanButton)
    assert ui.scanTable.rowCount == 0
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileNames", lambda *a: [str(files / "unlabeled/scan 100.nii.gz")])
    click(ui.addScanFilesButton)
    assert ui.scanTable.rowCount == 1
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *a: str(files / "unlabeled"))
    click(ui.addScanFolderButton)
    assert ui.scanTable.rowCount == 3
    assert "1 were in the study already" in ui.noticeLabel.text
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *a: "")  # cancelled
    click(ui.addScanFolderButton)
    assert ui.scanTable.rowCount == 3


def test_scans_are_dropped(ui, files: Path, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    drop(ui.scanTable, files / "unlabeled", files / "images/atlas 0.nii.gz")
    wait(lambda: ui.scanTable.rowCount == 4)


def test_colour_and_terminology_are_chosen_by_double_click(widget, ui, tmp_path: Path, monkeypatch) -> None:
    import qt

    create(ui, tmp_path / "Studie")
    click(ui.addStructureButton)
    asked = []
    monkeypatch.setattr(qt.QColorDialog, "getColor", lambda *a: qt.QColor.fromRgbF(1.0, 0.0, 0.0))
    term = "Category~SCT^1^Anatomy~SCT^2^Liver~^^~Region~^^~^^"
    monkeypatch.setattr(
        "BRBSTrainingLib.StructuresSection.askTerminology", lambda text, parent: asked.append(text) or term
    )
    for column in (0, 3):
        ui.structuresTable.cellDoubleClicked.emit(0, column)
    (label,) = widget.panel.session.study.study.schema.labels
    assert (label.colour, label.terminology, asked) == ((1.0, 0.0, 0.0), term, [""])
    assert ui.structuresTable.item(0, 3).text() == "Liver"


def test_views_are_shown(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: ENDED.search(ui.stateLabel.text))
    click(ui.lossesButton)
    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode().GetName() == "BRBS losses"
    click(ui.diceButton)
    assert view.GetPlotChartNode().GetName() == "BRBS validation Dice"
    click(ui.openModelButton)
    assert slicer.app.recorded.modules == ["BRBSSegmentation"]
