"""The study in the training panel: what users add and change, what they then see."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import slicer
import tiny_study
from panel_steps import READY, create, fill, statuses, texts
from panel_user import click, drop, wait
from standin.scripted_module import leaveModule
from training_nodes import addSubject

from brbs.expected_time import voxels_in, with_structures
from brbs.grid_choice import SMALLEST_BUDGET
from BRBSTrainingLib.SettingsSection import SettingsSection


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


def test_typed_study_is_opened_when_its_path_is_whole(widget, ui, tmp_path: Path, monkeypatch) -> None:
    session, path = widget.panel.session, str(tmp_path / "Eltern" / "Studie")
    for study in (tmp_path / "Eltern", path, tmp_path / "Andere"):
        create(ui, study)
    opened, openStudy = [], session.open
    monkeypatch.setattr(session, "open", lambda folder: opened.append(folder) or openStudy(folder))
    for end in range(1, len(path) + 1):
        ui.studyPathEdit.currentPath = path[:end]
    assert not ui.createStudyButton.enabled
    wait(lambda: opened)
    assert opened == [path] and session.study.folder == Path(path)


def test_what_happened_is_told_in_the_status_bar_too(ui, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    assert ui.noticeLabel.text == slicer.app.recorded.status[-1] == "Opened the study Studie."


def test_selection_stays_on_what_was_selected(widget, ui, files: Path, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    drop(ui.scanTable, files / "unlabeled")
    wait(lambda: statuses(ui.scanTable) == [READY] * 3)
    ui.scanTable.selectRow(2)
    first = widget.panel.session.study.study.unlabeled[0]
    widget.panel.guard(lambda: widget.panel.session.changeStudy(lambda study: study.removeUnlabeled([first])))
    assert selected(ui.scanTable) == [1] and ui.removeScanButton.enabled
    ui.scanTable.selectRow(0)
    click(ui.removeScanButton)
    assert selected(ui.scanTable) == [] and not ui.removeScanButton.enabled
    for _ in range(3):
        click(ui.addStructureButton)
    ui.structuresTable.selectRow(1)
    ui.structuresTable.item(1, 1).setText("Leber")
    assert selected(ui.structuresTable) == [1]
    click(ui.removeStructureButton)
    assert selected(ui.structuresTable) == [] and not ui.removeStructureButton.enabled


def selected(table) -> list[int]:
    return [index.row() for index in table.selectionModel().selectedRows()]


def test_tool_tips_of_a_table_fit_on_a_screen(application) -> None:
    import qt

    from BRBSTrainingLib.RowTable import GOOD, Row, RowTable

    table, path = qt.QTableWidget(), "/" + "x" * 150
    text = "Structures: " + ", ".join(f"structure {number}" for number in range(40))
    RowTable(table, ["Scan", "Status"]).show([Row("a", ("a", "ready"), GOOD, f"{text}\n\n{path}")])
    *lines, empty, last = table.item(0, 0).toolTip().split("\n")
    assert max(map(len, lines)) <= 100 and " ".join(lines) == text
    assert (empty, last) == ("", path)


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
    assert remedy in ui.atlasTable.item(0, 0).toolTip().replace("\n", " ")
    wait(lambda: not ui.startButton.enabled)
    wait(lambda: not widget.panel.session.checking)
    assert remedy in ui.startButton.toolTip and "could not be checked" not in ui.startButton.toolTip
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


def fits_in_time(session, voxels: int, minutes: int) -> None:
    """Makes the devices so fast that a time limit leaves time for so many voxels."""
    for device in session.report.content["devices"]:
        study = session.study.study
        now = voxels_in(with_structures(device, len(study.schema.labels)), minutes, study.settings)
        device["seconds_per_step"]["volume"] *= voxels / now


def test_a_time_limit_that_makes_voxels_coarser_says_so(
    widget, ui, files: Path, tmp_path: Path, long, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(widget, files, tmp_path / "Studie")
    session = widget.panel.session
    ui.minutesSpinBox.setValue(20)
    wait(lambda: "all of it would take about" in ui.expectedLabel.text)
    assert "voxels" not in ui.expectedLabel.text
    monkeypatch.setattr(SettingsSection, "_voxels", lambda *_: 64 * SMALLEST_BUDGET)
    session.report.content = copy.deepcopy(session.report.content)
    fits_in_time(session, 8 * SMALLEST_BUDGET, minutes=21)
    ui.minutesSpinBox.setValue(21)
    wait(lambda: "steps fit, its voxels will be up to 2.0 times" in ui.expectedLabel.text)  # around the labels less
    session.changeStudy(lambda study: study.setSettings(replace(study.study.settings, region="whole")))
    wait(lambda: "steps fit, its voxels will be about 2.0 times" in ui.expectedLabel.text)
    fits_in_time(session, SMALLEST_BUDGET // 10, minutes=22)
    ui.minutesSpinBox.setValue(22)
    wait(lambda: "up to 4.0 times as long, and still fewer than" in ui.expectedLabel.text)
    session.changeStudy(lambda study: study.setSettings(replace(study.study.settings, spacing=(1.0, 1.0, 1.0))))
    wait(lambda: "voxels" not in ui.expectedLabel.text)


def test_scene_close_keeps_the_study(widget, ui, files: Path, tmp_path: Path) -> None:
    fill(widget, files, tmp_path / "Studie")
    slicer.mrmlScene.Clear(0)
    wait(lambda: ui.startButton.enabled)
    assert ui.atlasTable.rowCount == 2
    assert widget.logic.getParameterNode().studyFolder == str(tmp_path / "Studie")


def test_loaded_scene_opens_the_study_it_was_saved_with(widget, ui, tmp_path: Path) -> None:
    create(ui, tmp_path / "Studie")
    ui.minutesSpinBox.setValue(7)
    widget.logic.getParameterNode().device = "cpu"
    slicer.mrmlScene.SetURL(str(tmp_path / "Szene.mrml"))
    assert slicer.mrmlScene.Commit()
    create(ui, tmp_path / "Andere")
    ui.minutesSpinBox.setValue(9)
    widget.logic.getParameterNode().device = "auto"
    assert slicer.mrmlScene.Connect()
    assert widget.panel.session.study.folder == tmp_path / "Studie"
    assert ui.studyPathEdit.currentPath == str(tmp_path / "Studie")
    saved = widget.logic.getParameterNode()
    assert (saved.studyFolder, saved.minutes, saved.device) == (str(tmp_path / "Studie"), 7, "cpu")
    wait(lambda: ui.deviceSelector.count > 1)
    assert ui.minutesSpinBox.value == 7 and ui.deviceSelector.currentText.startswith("cpu")


def test_scene_of_others_gets_no_parameter_node(widget, ui, tmp_path: Path) -> None:
    from BRBSTrainingLib.FormConnection import sceneHasParameters

    create(ui, tmp_path / "Studie")
    leaveModule(widget)
    slicer.mrmlScene.Clear(0)
    widget.panel.guard(lambda: widget.panel.session.changeStudy(lambda study: None))  # as when a check has ended
    assert not sceneHasParameters("BRBSTraining") and widget.panel.session.study is not None
    assert slicer.mrmlScene.Commit(str(tmp_path / "Fremd.mrml"))
    assert str(tmp_path) not in (tmp_path / "Fremd.mrml").read_text()
    slicer.mrmlScene.SetURL(str(tmp_path / "Fremd.mrml"))
    assert slicer.mrmlScene.Connect() and not sceneHasParameters("BRBSTraining")
    widget.enter()
    assert widget.logic.getParameterNode().studyFolder == str(tmp_path / "Studie")


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
