"""The training in the training panel: what users start, stop and read."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import slicer
from panel_steps import choose, create, fill
from panel_user import click, wait
from PyQt5.QtCore import Qt
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication, QMessageBox
from standin.scripted_module import openModule
from tiny_model import tiny_bundle
from tiny_study import SETTINGS

import brbs.settings
from brbs import __version__
from brbs.settings import Settings

ENDED = re.compile("has (finished|stopped) after")


def test_start_tells_what_is_missing(ui, files: Path, tmp_path: Path) -> None:
    assert not ui.startButton.enabled
    assert "study first" in ui.startButton.toolTip
    create(ui, tmp_path / "Studie")
    wait(lambda: "no atlas" in ui.startButton.toolTip)
    assert not ui.startButton.enabled


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


def test_setting_that_is_being_typed_stays(widget, ui, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    edit = ui.advancedGroup.findChild(qtWidget(), "setting_learning_rate")
    before = edit.text
    edit.selectAll()
    QTest.keyClicks(edit, "0.02")
    widget.panel.guard(lambda: widget.panel.session.changeStudy(lambda study: None))  # as after a check
    assert edit.text == "0.02"
    QTest.keyClick(edit, Qt.Key_Return)
    assert widget.panel.session.study.study.settings.learning_rate == 0.02
    QTest.keyClicks(edit, "x")
    QTest.keyClick(edit, Qt.Key_Return)
    assert edit.text == "0.02" and "learning_rate" in ui.noticeLabel.text
    QTest.keyClicks(edit, "1")
    create(ui, tmp_path / "Andere")
    assert edit.text == before


def qtWidget():
    import qt

    return qt.QWidget


def test_paper_preset_brings_its_settings(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    choose(ui.presetSelector, "paper")
    session, paper = widget.panel.session, brbs.settings.PRESETS["paper"].settings
    assert session.study.study.settings == paper
    own = {"spacing": (1.0, 1.0, 2.0), "seed": 3}
    session.changeStudy(lambda study: study.setSettings(replace(paper, **own)))
    wait(lambda: session.study.study.settings.seed == 3)
    assert ui.presetSelector.currentText == "paper", "what is changed does not make it another method"
    choose(ui.presetSelector, "fast")
    assert session.study.study.settings == replace(brbs.settings.PRESETS["fast"].settings, **own)


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


def test_pause_stop_and_go_on(widget, long, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: ui.pauseButton.enabled and widget.panel.session.job.events())
    click(ui.pauseButton)
    wait(lambda: "is paused" in ui.stateLabel.text)
    assert ui.pauseButton.text == "Resume"
    click(ui.pauseButton)
    wait(lambda: "runs" in ui.stateLabel.text)
    click(ui.sampleButton)
    wait(lambda: slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
    click(ui.stopButton)
    assert not ui.stopButton.enabled
    wait(lambda: ENDED.search(ui.stateLabel.text))
    slicer.app.recorded.answer = QMessageBox.Yes
    click(ui.startButton)
    wait(lambda: ui.pauseButton.enabled)
    assert len(widget.panel.session.study.modelFolders) == 1
    click(ui.stopButton)
    wait(lambda: ENDED.search(ui.stateLabel.text))


def test_training_that_does_not_stop_is_ended_at_once(
    widget, long, ui, files: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("BRBSTrainingLib.TrainSection.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(widget.logic, "stopTraining", lambda job: None)  # as if it did not heed it
    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: widget.panel.session.job is not None and widget.panel.session.job.events())
    click(ui.stopButton)
    wait(lambda: ui.stopButton.text == "End at once" and ui.stopButton.enabled)
    click(ui.stopButton)
    wait(lambda: "has failed" in ui.stateLabel.text)
    assert "training on cpu" in ui.stateLabel.text
    assert ui.startButton.enabled
    assert not ui.stopButton.enabled and ui.stopButton.text == "Stop and keep"


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


@pytest.mark.parametrize("settings", [replace(SETTINGS, learning_rate=0.004), brbs.settings.PRESETS["paper"].settings])
def test_another_scene_leaves_the_settings_of_the_study_alone(widget, ui, tmp_path: Path, settings) -> None:
    create(ui, tmp_path / "Studie")
    widget.panel.session.changeStudy(lambda study: study.setSettings(settings))
    for _ in range(2):
        slicer.mrmlScene.Clear(0)
        wait(lambda: ui.presetSelector.count == len(brbs.settings.PRESETS))
        assert widget.panel.session.study.study.settings == settings
    assert widget.logic.openStudy(tmp_path / "Studie").study.settings == settings


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


def test_other_python_is_asked_when_its_path_is_typed(widget, ui, monkeypatch) -> None:
    asked, engine = [], widget.logic.engine
    monkeypatch.setattr(widget.panel.session, "askEngine", lambda: asked.append(engine.chosenPython))
    for end in range(1, len("/opt/python") + 1):
        ui.pythonPathEdit.currentPath = "/opt/python"[:end]
        assert engine.chosenPython == ""
    wait(lambda: asked)
    assert asked == ["/opt/python"]


def test_the_versions_to_be_told_with_a_fault_are_shown(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    assert f"BRBS {__version__}\n" in ui.pythonInfoLabel.text and "PyTorch" in ui.pythonInfoLabel.text


def test_views_are_shown(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    click(ui.startButton)
    wait(lambda: ENDED.search(ui.stateLabel.text))
    click(ui.lossesButton)
    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode().GetName() == "BRBS losses"
    click(ui.diceButton)
    assert view.GetPlotChartNode().GetName() == "BRBS validation Dice"


@pytest.mark.parametrize("opened", [False, True])
def test_used_model_is_the_one_chosen(widget, ui, files: Path, tmp_path: Path, opened: bool) -> None:
    import BRBSSegmentation

    fill(widget, files, tmp_path / "Studie")
    tiny_bundle().save(tmp_path / "another")
    BRBSSegmentation.BRBSSegmentationLogic().addModel(tmp_path / "another")
    if opened:  # before there was a model of the training
        assert openModule(BRBSSegmentation.BRBSSegmentationWidget).ui.modelSelector.currentText == "another"
    click(ui.startButton)
    wait(lambda: ENDED.search(ui.stateLabel.text))
    newer = time.time() + 60
    os.utime(tmp_path / "another/model.json", (newer, newer))
    click(ui.openModelButton)
    assert slicer.app.recorded.modules == ["BRBSSegmentation"]
    used = slicer.util.getModuleWidget("BRBSSegmentation")
    used.enter()
    assert used.ui.modelSelector.currentText == "Studie 001"
    assert used.logic.getParameterNode().model == str(tmp_path / "Studie/models/001")
    used.cleanup()
