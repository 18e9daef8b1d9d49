"""The inspector through its widgets: what users choose and slide, what they then see."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import slicer
from inspector_folder import FIGURES, write_folder
from panel_user import click, wait
from standin.scripted_module import openModule
from tiny_model import tiny_bundle
from tiny_study import write_study

from brbs.pairing import find_pairs
from BRBSTrainingLib.InspectorLayout import ARRANGEMENT
from BRBSTrainingLib.InspectorScene import DISPLACEMENT, GENERATED, JACOBIAN

ENGINE = {"python": "3.11", "torch": "2.5", "missing": [], "broken": {}, "devices": []}


@pytest.fixture
def widget(application, monkeypatch, tmp_path: Path):
    """The panel with a study of two atlases, three scans and one model."""
    import BRBSTraining
    from BRBSTrainingLib.EngineReport import EngineReport

    monkeypatch.setattr(EngineReport, "ask", lambda report: setattr(report, "content", dict(ENGINE)))
    made = openModule(BRBSTraining.BRBSTrainingWidget)
    files = write_study(tmp_path / "Dateien")
    session = made.panel.session
    session.create(str(tmp_path / "Studie"))
    session.addAtlases(find_pairs(files), "")
    tiny_bundle().save(tmp_path / "Studie" / "models" / "001")
    yield made
    made.cleanup()


@pytest.fixture
def ui(widget):
    """The widgets, with the section opened."""
    ui = widget.ui
    assert ui.inspectorSection.collapsed and ui.inspectorModelCombo.count == 0
    ui.inspectorSection.collapsed = False
    wait(lambda: ui.generateButton.enabled)
    return ui


class MadeUpCall:
    """An engine that has made up a sample at once, or says why not."""

    exitCode, lastLine, arguments = None, "", ()

    def __init__(self, engine, arguments) -> None:
        MadeUpCall.arguments = arguments
        if self.exitCode == 0:
            write_folder(Path(arguments[arguments.index("--output") + 1]))

    def close(self) -> None:
        """Nothing is left."""


@pytest.fixture
def call(monkeypatch) -> type[MadeUpCall]:
    """How the engine ends: code and last words."""
    import BRBSTrainingLib.InspectorRun

    monkeypatch.setattr(BRBSTrainingLib.InspectorRun, "EngineCall", MadeUpCall)
    monkeypatch.setattr(MadeUpCall, "exitCode", 0)
    return MadeUpCall


@pytest.fixture
def generated(widget, ui, call):
    """The logic's scene after Generate."""
    click(ui.generateButton)
    wait(lambda: widget.logic.inspector.sample is not None)
    return widget.logic.inspector


def items(combo) -> list[str]:
    return [combo.itemText(index) for index in range(combo.count)]


def test_choices_are_those_of_the_study(widget, ui, tmp_path: Path) -> None:
    assert items(ui.inspectorModelCombo) == ["001"]
    assert items(ui.inspectorAtlasCombo) == ["atlas 0", "atlas 1"]
    assert items(ui.styleCombo) == [f"scan {seed}.nii.gz" for seed in (100, 101, 102)]
    assert items(ui.spaceCombo)[2:] == ["scan 102.nii.gz", "atlas 0.nii.gz (atlas)", "atlas 1.nii.gz (atlas)"]
    ui.styleCombo.currentIndex = 1
    running = tmp_path / "Studie" / "models" / "002" / "training"
    running.mkdir(parents=True)
    (running / "last.pt").write_bytes(b"")
    widget.panel.session.changeStudy(lambda study: study.removeUnlabeled(study.study.unlabeled[:1]))
    widget.panel.tick()
    assert items(ui.inspectorModelCombo) == ["002, last checkpoint", "001"]
    assert ui.inspectorModelCombo.currentText == "001"
    assert ui.styleCombo.currentText == "scan 101.nii.gz"


def test_button_tells_what_is_missing(widget, ui, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "Studie" / "models")
    widget.panel.session.changeStudy(lambda study: None)
    widget.panel.tick()
    assert not ui.generateButton.enabled and "Train first" in ui.generateButton.toolTip
    assert not ui.alphaSlider.enabled and not ui.playPathButton.enabled


def test_every_input_has_a_tooltip(ui) -> None:
    from PyQt5.QtWidgets import QAbstractButton, QComboBox, QTableWidget

    for kind in (QAbstractButton, QComboBox, QTableWidget):
        for found in ui.inspectorSection.findChildren(kind):
            assert found.toolTip or not found.objectName, found.objectName


def test_real_engine_generates(widget, ui) -> None:
    ui.deviceSelector.currentText = "cpu"
    ui.spaceCombo.currentIndex = 4
    click(ui.generateButton)
    assert not ui.generateButton.enabled and ui.cancelInspectorButton.enabled
    assert not ui.inspectorProgress.isHidden() and "generating" in ui.inspectorStateLabel.text
    wait(lambda: ui.generateButton.enabled)
    assert "LNCC" in ui.inspectorStateLabel.text, ui.inspectorStateLabel.text
    assert ui.inspectorProgress.isHidden() and not ui.cancelInspectorButton.enabled
    rows = [[ui.inspectorTable.item(row, column).text() for column in range(3)] for row in range(2)]
    assert [row[0] for row in rows] == ["Hülle", "Kern"]
    assert all(0 <= float(share) <= 1 for row in rows for share in row[2].split(" → "))
    assert widget.logic.inspector.find(GENERATED) is not None


def test_request_says_all_that_is_chosen(widget, ui, generated, call, tmp_path: Path) -> None:
    ui.spaceCombo.currentIndex = 3
    click(ui.generateButton)
    told = dict(zip(call.arguments[3::2], map(str, call.arguments[4::2]), strict=False))
    assert Path(told["--space-labels"]).name == "atlas 0.seg.nrrd" and told["--atlas"] == "atlas 0"
    assert Path(told["--study"]) == tmp_path / "Studie" and told["--samples"] == "12"
    wait(lambda: ui.generateButton.enabled)


def test_engine_s_words_are_shown(widget, ui, call, monkeypatch) -> None:
    monkeypatch.setattr(call, "exitCode", 2)
    monkeypatch.setattr(call, "lastLine", "brbs: scan.nii.gz: is damaged; copy it again")
    click(ui.generateButton)
    wait(lambda: "damaged" in ui.inspectorStateLabel.text)
    assert ui.inspectorStateLabel.text == ui.noticeLabel.text == "scan.nii.gz: is damaged; copy it again"
    assert ui.generateButton.enabled and widget.logic.inspector.sample is None


def test_cancel(widget, ui, call, monkeypatch) -> None:
    monkeypatch.setattr(call, "exitCode", None)
    click(ui.generateButton)
    click(ui.cancelInspectorButton)
    assert ui.generateButton.enabled and ui.inspectorStateLabel.text == "Ready to generate."


def test_sliders_mix_and_deform(ui, generated) -> None:
    ui.alphaSlider.value = 1.25
    ui.betaSlider.value = 0.75
    assert (generated.alpha, generated.beta) == (1.25, 0.75)


def test_slider_and_path_do_not_fight(widget, ui, generated) -> None:
    click(ui.playPathButton)
    assert ui.playPathButton.checked
    browser = slicer.modules.sequences.toolBarBrowser
    browser.SetSelectedItemNumber(4)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    widget.panel.tick()
    assert ui.alphaSlider.value == pytest.approx(0.4)
    assert browser.GetPlaybackActive(), "following the path is not sliding"
    ui.alphaSlider.value = 0.9
    assert not browser.GetPlaybackActive() and not ui.playPathButton.checked
    widget.panel.tick()
    assert generated.alpha == pytest.approx(0.9) and ui.alphaSlider.value == pytest.approx(0.9)
    click(ui.playPathButton)
    click(ui.playPathButton)
    assert not browser.GetPlaybackActive() and not ui.playPathButton.checked


def test_samples_of_the_sheet_one_by_one(ui, generated) -> None:
    seen = []
    for button in (
        ui.nextSampleButton,
        ui.nextSampleButton,
        ui.nextSampleButton,
        ui.nextSampleButton,
        ui.previousSampleButton,
    ):
        click(button)
        seen.append((generated.alpha, generated.beta))
    drawn = [(sample["alpha"], sample["beta"]) for sample in FIGURES["samples"]]
    assert seen == [pytest.approx(pair) for pair in (*drawn, drawn[0], drawn[2])]
    assert "Sample 3 of 3" in ui.noticeLabel.text


def test_random_draws_shares(ui, generated) -> None:
    drawn = set()
    for _ in range(5):
        click(ui.randomButton)
        assert 0 <= generated.alpha <= 1 and 0 <= generated.beta <= 1
        drawn.add((generated.alpha, generated.beta))
    assert len(drawn) > 1


def test_sheet_is_saved(ui, generated, tmp_path: Path, monkeypatch) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *a: str(tmp_path / "Bögen" / "sheet"))
    click(ui.saveSheetButton)
    assert "sheet.png" in ui.noticeLabel.text and "choose another place" in ui.noticeLabel.text
    (tmp_path / "Bögen").mkdir()
    click(ui.saveSheetButton)
    assert (tmp_path / "Bögen" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *a: "")
    click(ui.saveSheetButton)


def test_sheet_replaces_no_file_that_was_not_named(ui, generated, tmp_path: Path, monkeypatch) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *a: str(tmp_path / "pat.3"))
    (tmp_path / "pat.png").write_bytes(b"mine")
    click(ui.saveSheetButton)
    assert (tmp_path / "pat.png").read_bytes() == b"mine" and slicer.app.recorded.messages == []
    assert (tmp_path / "pat.3.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "pat.3.png").write_bytes(b"mine")
    for answer in (False, True):
        slicer.app.recorded.answer = answer
        click(ui.saveSheetButton)
        assert ((tmp_path / "pat.3.png").read_bytes() != b"mine") == answer
    assert all(kind == "ask" and "pat.3.png" in text for kind, text in slicer.app.recorded.messages)


def test_views_follow_the_check_boxes(widget, ui, generated) -> None:
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    side = layout.GetViewArrangement()
    composites = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    assert composites["BRBSGenerated"].GetBackgroundVolumeID() == generated.find(GENERATED).GetID()
    ui.overlayCombo.currentIndex = 3
    ui.fadeSlider.value = 0.2
    assert composites["BRBSGenerated"].GetForegroundVolumeID() == generated.find(JACOBIAN).GetID()
    assert composites["BRBSGenerated"].GetForegroundOpacity() == pytest.approx(0.2)
    ui.sideBySideCheck.checked = False
    assert layout.GetViewArrangement() != side
    assert composites["Red"].GetForegroundVolumeID() == generated.find(JACOBIAN).GetID()
    layout.SetViewArrangement(side)  # by Slicer's own menu
    widget.panel.tick()
    assert ui.sideBySideCheck.checked
    displays = [generated.find(DISPLACEMENT).GetNthDisplayNode(index) for index in range(2)]
    ui.gridCheck.checked, ui.glyphCheck.checked = False, True
    assert [display.GetVisibility() for display in displays] == [0, 1]


def test_layout_chosen_in_the_menu_is_complete(widget, ui, generated) -> None:
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    composites = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    grid = generated.find(DISPLACEMENT).GetNthDisplayNode(0)
    assert not grid.IsDisplayableInView("vtkMRMLSliceNodeRed")
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    widget.panel.tick()
    assert not ui.sideBySideCheck.checked and layout.GetViewArrangement() == layout.SlicerLayoutFourUpView
    assert grid.IsDisplayableInView("vtkMRMLSliceNodeRed")
    assert composites["Red"].GetBackgroundVolumeID() is None, "the user has chosen what is seen there"
    composites["BRBSGenerated"].SetBackgroundVolumeID(None)
    layout.SetViewArrangement(ARRANGEMENT)
    widget.panel.tick()
    assert ui.sideBySideCheck.checked
    assert composites["BRBSGenerated"].GetBackgroundVolumeID() == generated.find(GENERATED).GetID()
    assert not grid.IsDisplayableInView("vtkMRMLSliceNodeRed")


def test_closed_scene_comes_back_with_the_slider(widget, ui, generated, scene) -> None:
    scene.Clear(0)
    widget.panel.tick()
    ui.betaSlider.value = 0.3
    shown = generated.find(GENERATED).GetID()
    assert shown in {node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    assert ui.generateButton.enabled
