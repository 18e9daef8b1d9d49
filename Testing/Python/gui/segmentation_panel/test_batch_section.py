"""Many scans, through the panel's widgets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
import slicer
from panel_user import click, drop, wait
from standin.scripted_module import openModule
from tiny_model import tiny_bundle
from tiny_study import on_grid, subject
from training_nodes import addSubject

import brbs.job
from brbs.job import JobWriter, queue_job


def rows(table) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]


def begin(ui, output: Path) -> None:
    click(ui.addBatchVolumesButton)
    ui.batchOutputEdit.currentPath = str(output)
    click(ui.startBatchButton)


def ended(ui) -> bool:
    return "The table is" in ui.batchStateLabel.text


def test_start_tells_what_is_missing(ui, tmp_path: Path) -> None:
    assert "scans" in ui.startBatchButton.toolTip and not ui.startBatchButton.enabled
    addSubject(0)
    click(ui.addBatchVolumesButton)
    assert "folder" in ui.startBatchButton.toolTip
    ui.batchOutputEdit.currentPath = str(tmp_path / "out")
    assert ui.startBatchButton.enabled
    click(ui.removeModelButton)
    assert "model" in ui.startBatchButton.toolTip


def test_all_volumes_are_segmented_and_shown(widget, ui, tmp_path: Path) -> None:
    for seed in (1, 2):
        addSubject(seed)
    begin(ui, tmp_path / "out")
    assert not ui.removeBatchButton.enabled and not ui.addBatchFolderButton.enabled
    wait(lambda: ended(ui))
    assert [row[:2] for row in rows(ui.batchTable)] == [["Scan 1", "done"], ["Scan 2", "done"]]
    assert all(row[2].endswith(("Hülle", "Kern")) for row in rows(ui.batchTable))
    assert "2 finished of 2 scans" in ui.batchStateLabel.text
    ui.batchTable.selectRow(1)
    click(ui.openBatchResultButton)
    assert [row[0] for row in rows(ui.resultTable)] == ["Hülle", "Kern"]
    assert ui.inputSelector.currentNode().GetName() == "Scan 2"
    assert ui.addToStudyButton.enabled


def test_scans_without_a_structure_are_told_from_those_with_it(widget, ui, tmp_path: Path) -> None:
    for seed in (1, 2):
        addSubject(seed)
    begin(ui, tmp_path / "out")
    wait(lambda: ended(ui))
    scans = widget.panel._batch._batch.scans
    found = [{"Hülle": 0.9, "Kern": None}, {"Hülle": None, "Kern": None}]
    scans.update({scan: replace(known, confidence=one) for (scan, known), one in zip(list(scans.items()), found)})
    widget.panel._batch.update()
    assert [row[2] for row in rows(ui.batchTable)] == ["0.90 Hülle", "not found"]
    assert "Not found: Kern." in ui.batchTable.item(0, 1).toolTip()
    assert "expects nothing" in ui.batchTable.item(1, 1).toolTip()


def test_stray_pieces_of_many_scans_go_or_stay(widget, ui, tmp_path: Path) -> None:
    addSubject(1)
    for chosen in (True, False):
        ui.strayPiecesCheckBox.setChecked(chosen)
        begin(ui, tmp_path / f"out {chosen}")
        wait(lambda: ended(ui))
        assert ("stray" in ui.batchTable.item(0, 1).toolTip()) == chosen


def test_folder_is_filtered_and_a_bad_scan_is_marked(ui, tmp_path: Path, monkeypatch) -> None:
    import qt

    (tmp_path / "scans").mkdir()
    for name in ("a_T1", "a_T2", "b_T1"):
        sitk.WriteImage(on_grid(subject(1)[0]), str(tmp_path / f"scans/{name}.nrrd"))
    (tmp_path / "scans/b_T1.nrrd").write_bytes(b"NRRD0004\n")
    ui.batchPatternEdit.setText("*_T1*")
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *a: str(tmp_path / "scans"))
    click(ui.addBatchFolderButton)
    ui.batchOutputEdit.currentPath = str(tmp_path / "out")
    ui.batchFormatSelector.setCurrentText(".nii.gz")
    click(ui.startBatchButton)
    wait(lambda: ended(ui))
    assert [row[:2] for row in rows(ui.batchTable)] == [["a_T1.nrrd", "done"], ["b_T1.nrrd", "failed"]]
    assert "b_T1.nrrd" in ui.batchTable.item(1, 1).toolTip()
    assert (tmp_path / "out/a_T1.nii.gz").is_file()
    ui.batchTable.selectRow(1)
    assert not ui.openBatchResultButton.enabled


def test_rows_are_removed_and_no_file_is(ui, tmp_path: Path, monkeypatch) -> None:
    import qt

    (tmp_path / "scans").mkdir()
    for name in "abc":
        sitk.WriteImage(on_grid(subject(1)[0]), str(tmp_path / f"scans/{name}.nrrd"))
    drop(ui.batchTable, tmp_path / "scans")
    wait(lambda: ui.batchTable.rowCount == 3)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *a: "")  # cancelled
    click(ui.addBatchFolderButton)
    assert not ui.removeBatchButton.enabled
    ui.batchTable.selectRow(1)
    click(ui.removeBatchButton)
    assert [row[0] for row in rows(ui.batchTable)] == ["a.nrrd", "c.nrrd"]
    assert len(list((tmp_path / "scans").iterdir())) == 3 and not ui.removeBatchButton.enabled


def test_stop_and_start_again(ui, tmp_path: Path) -> None:
    for seed in range(3):
        addSubject(seed)
    begin(ui, tmp_path / "out")
    click(ui.stopBatchButton)
    wait(lambda: ui.startBatchButton.enabled)
    assert not ui.stopBatchButton.enabled
    click(ui.startBatchButton)
    wait(lambda: ended(ui))
    assert {row[1] for row in rows(ui.batchTable)} <= {"done", "done before"}


def test_batch_is_found_again_by_its_folder(widget, ui, tmp_path: Path) -> None:
    import BRBSSegmentation

    addSubject(1)
    begin(ui, tmp_path / "out")
    wait(lambda: ended(ui))
    later = openModule(BRBSSegmentation.BRBSSegmentationWidget)
    try:
        later.ui.batchOutputEdit.currentPath = str(tmp_path / "out")
        wait(lambda: [row[:2] for row in rows(later.ui.batchTable)] == [["Scan 1.nrrd", "done"]])
    finally:
        later.cleanup()


def test_results_are_shown_without_scans_that_are_gone(widget, ui, tmp_path: Path) -> None:
    addSubject(1)
    (tmp_path / "scans").mkdir()
    sitk.WriteImage(on_grid(subject(2)[0]), str(tmp_path / "scans/Berta.nrrd"))
    drop(ui.batchTable, tmp_path / "scans")
    wait(lambda: ui.batchTable.rowCount == 1)
    begin(ui, tmp_path / "out")
    wait(lambda: ended(ui))
    slicer.mrmlScene.Clear(0)
    (tmp_path / "scans/Berta.nrrd").unlink()
    told = {"Berta.nrrd": "no such file; put it back", "Scan 1": "was only in the scene"}
    for row, (name, problem) in enumerate(told.items()):
        assert ui.batchTable.item(row, 0).text() == name
        ui.batchTable.selectRow(row)
        click(ui.openBatchResultButton)
        assert problem in ui.noticeLabel.text and "shown without it" in ui.noticeLabel.text
        assert [ui.resultTable.item(structure, 0).text() for structure in range(2)] == ["Hülle", "Kern"]
        assert ui.editButton.enabled and "no longer in the scene" in ui.addToStudyButton.toolTip
    bounds, views = [0.0] * 6, slicer.util.getNodesByClass("vtkMRMLSliceNode")
    slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[-1].GetRASBounds(bounds)
    centre = [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2])]
    for view in views:
        assert [view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)] == pytest.approx(centre)
    click(ui.editButton)
    assert slicer.app.recorded.modules == ["SegmentEditor"]


def write_batch(output: Path, *names: str) -> None:
    """A batch that runs, as somebody else has begun it."""
    queue_job(output / "BRBS batch", model="x")
    listed = "".join(f"{output / name}\n" for name in names)
    (output / "BRBS batch/scans.txt").write_text(listed, encoding="utf-8")


def finish_batch(output: Path) -> None:
    """The batch ends; it has segmented all its scans."""
    with JobWriter(output / "BRBS batch", model="x") as job:
        for scan in (output / "BRBS batch/scans.txt").read_text(encoding="utf-8").splitlines():
            job.event("scan", input=scan, output=f"{scan}.seg.nrrd", state="finished")


def test_list_is_that_of_the_folder_chosen(ui, tmp_path: Path) -> None:
    for folder, name in (("out", "a.nrrd"), ("out2", "b.nrrd")):
        write_batch(tmp_path / folder, name)
        finish_batch(tmp_path / folder)
    whole = str(tmp_path / "out2")
    for end in range(1, len(whole) + 1):
        ui.batchOutputEdit.currentPath = whole[:end]
        assert ui.batchTable.rowCount == 0
    wait(lambda: rows(ui.batchTable) == [["b.nrrd", "done", ""]])
    ui.batchOutputEdit.currentPath = str(tmp_path / "out")
    wait(lambda: rows(ui.batchTable) == [["a.nrrd", "done", ""]])
    ui.batchOutputEdit.currentPath = str(tmp_path / "neu")
    wait(lambda: ui.batchTable.rowCount == 0)
    assert ui.batchStateLabel.text == "" and ui.batchProgressBar.value == 0


def test_own_list_stays_but_is_done_only_in_its_folder(ui, tmp_path: Path) -> None:
    write_batch(tmp_path / "out", "a.nrrd")
    finish_batch(tmp_path / "out")
    write_batch(tmp_path / "other", "b.nrrd")
    finish_batch(tmp_path / "other")
    for name in ("a.nrrd", "c.nrrd"):
        (tmp_path / "out" / name).touch()
    drop(ui.batchTable, tmp_path / "out/a.nrrd", tmp_path / "out/c.nrrd")
    wait(lambda: ui.batchTable.rowCount == 2)
    for folder, state in (("out", "done"), ("other", "waiting"), ("out", "done")):
        ui.batchOutputEdit.currentPath = str(tmp_path / folder)
        wait(lambda state=state: [row[1] for row in rows(ui.batchTable)] == [state, "waiting"])
        assert ("The table is" in ui.batchStateLabel.text) == (state == "done")
    drop(ui.batchTable, tmp_path / "other/b.nrrd")
    wait(lambda: ui.batchTable.rowCount == 3)  # c is still to be done, so that no new list begins


def test_folder_stays_while_a_batch_runs(widget, ui, tmp_path: Path) -> None:
    write_batch(tmp_path / "out", "a.nrrd")
    with JobWriter(tmp_path / "out/BRBS batch", model="x"):
        ui.batchOutputEdit.currentPath = str(tmp_path / "out")
        wait(lambda: ui.stopBatchButton.enabled)
        assert not ui.batchOutputEdit.enabled
        widget.panel.setParameters(None)
        parameters = widget.logic.getParameterNode()
        parameters.batchFolder = str(tmp_path / "other")
        widget.panel.setParameters(parameters)
        assert ui.batchOutputEdit.currentPath == parameters.batchFolder == str(tmp_path / "out")
    wait(lambda: ui.batchOutputEdit.enabled)


def test_batch_that_runs_is_looked_at_four_times_a_second(widget, ui, tmp_path: Path, monkeypatch) -> None:
    write_batch(tmp_path / "out", "a.nrrd")
    reads, read = [], brbs.job.read_json
    monkeypatch.setattr(brbs.job, "read_json", lambda path, **options: reads.append(path) or read(path, **options))
    with JobWriter(tmp_path / "out/BRBS batch", model="x") as job:
        ui.batchOutputEdit.currentPath = str(tmp_path / "out")
        wait(lambda: ui.stopBatchButton.enabled)
        widget.panel.tick()
        assert widget.panel._timer.interval == 250
        reads.clear()
        for _ in range(5):
            widget.panel.tick()
        assert len(reads) <= 2 * 5
        job.event("scan", input=str(tmp_path / "out/a.nrrd"), output="a.seg.nrrd", state="running")
        wait(lambda: rows(ui.batchTable)[0][1] == "segmenting…")
    wait(lambda: ui.batchOutputEdit.enabled and not ui.stopBatchButton.enabled)


def test_batch_that_cannot_start_again_keeps_the_results_of_the_last(ui, tmp_path: Path) -> None:
    addSubject(1)
    begin(ui, tmp_path / "out")
    wait(lambda: ended(ui))
    slicer.util.getNode("Scan 1").SetAndObserveImageData(None)
    click(ui.startBatchButton)
    assert "holds no voxels" in ui.noticeLabel.text
    ui.batchTable.selectRow(0)
    assert ui.openBatchResultButton.enabled


def test_segmentations_of_others_are_told_and_stay(ui, tmp_path: Path) -> None:
    sitk.WriteImage(on_grid(subject(1)[0]), str(tmp_path / "scan.nii.gz"))
    (tmp_path / "scan.seg.nrrd").write_text("by hand")
    drop(ui.batchTable, tmp_path / "scan.nii.gz")
    wait(lambda: ui.batchTable.rowCount == 1)
    ui.batchOutputEdit.currentPath = str(tmp_path)
    click(ui.startBatchButton)
    assert "scan.seg.nrrd" in ui.noticeLabel.text and "choose another folder" in ui.noticeLabel.text
    assert ui.startBatchButton.enabled and (tmp_path / "scan.seg.nrrd").read_text() == "by hand"


def test_damaged_record_of_a_batch_is_told_once(widget, ui, tmp_path: Path, monkeypatch) -> None:
    job = tmp_path / "out/BRBS batch"
    queue_job(job, model="x")
    (job / "scans.txt").write_text("/a/b.nii.gz\n")
    ui.batchOutputEdit.currentPath = str(tmp_path / "out")
    wait(lambda: "Starting" in ui.batchStateLabel.text)
    whole = (job / "job.json").read_text()
    (job / "job.json").write_text("{")
    wait(lambda: "job.json" in ui.noticeLabel.text, 10)
    assert "job.json" in ui.batchStateLabel.text and not ui.stopBatchButton.enabled
    told = []
    monkeypatch.setattr(widget.panel, "say", told.append)
    for _ in range(3):
        widget.panel.tick()
    assert told == []
    (job / "job.json").write_text(whole)
    wait(lambda: "Starting" in ui.batchStateLabel.text, 10)


def test_deleted_volumes_and_closed_scenes_do_no_harm(ui, tmp_path: Path) -> None:
    first, _ = addSubject(1)
    addSubject(2)
    click(ui.addBatchVolumesButton)
    slicer.mrmlScene.RemoveNode(first)
    ui.batchOutputEdit.currentPath = str(tmp_path / "out")
    click(ui.startBatchButton)
    wait(lambda: ended(ui))
    assert (tmp_path / "out/Scan 2.seg.nrrd").is_file()
    slicer.mrmlScene.Clear(0)
    click(ui.startBatchButton)
    assert "no scans to be segmented" in ui.noticeLabel.text


def test_list_is_not_taken_for_volumes_of_the_next_scene(ui, tmp_path: Path) -> None:
    before = addSubject(1)[0].GetID()
    click(ui.addBatchVolumesButton)
    slicer.mrmlScene.Clear(0)
    assert addSubject(2)[0].GetID() == before
    assert rows(ui.batchTable) == [] and not ui.startBatchButton.enabled
    begin(ui, tmp_path / "out")
    wait(lambda: ended(ui))
    assert [path.name for path in (tmp_path / "out").glob("*.seg.nrrd")] == ["Scan 2.seg.nrrd"]


def test_scene_close_while_volumes_are_written_or_segmented(widget, ui, tmp_path: Path) -> None:
    for seed in range(3):
        addSubject(seed)
    begin(ui, tmp_path / "out")
    slicer.mrmlScene.Clear(0)
    assert not ui.stopBatchButton.enabled and ui.batchTable.rowCount == 0
    assert not list((tmp_path / "out").rglob("*.nrrd"))
    addSubject(3)
    begin(ui, tmp_path / "out")
    wait(lambda: widget.panel._batch._batch is not None)
    slicer.mrmlScene.Clear(0)
    wait(lambda: ended(ui))
    assert [row[:2] for row in rows(ui.batchTable)] == [["Scan 3", "done"]]


def test_loaded_scene_writes_into_the_folder_it_was_saved_with(widget, ui, model: Path, tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "zweites")
    ui.batchOutputEdit.currentPath = str(tmp_path / "Studie")
    slicer.mrmlScene.SetURL(str(tmp_path / "Szene.mrml"))
    assert slicer.mrmlScene.Commit()
    ui.batchOutputEdit.currentPath = str(tmp_path / "Andere")
    widget.useModel(tmp_path / "zweites")
    assert slicer.mrmlScene.Connect()
    assert ui.batchOutputEdit.currentPath == str(tmp_path / "Studie")
    assert ui.modelSelector.currentText == "Nieren 001"
    saved = widget.logic.getParameterNode()
    assert (saved.batchFolder, saved.model) == (str(tmp_path / "Studie"), str(model))


def test_devices_are_those_of_the_engine(widget, ui) -> None:
    wait(lambda: ui.deviceSelector.count == 2)
    assert ui.deviceSelector.itemText(0) == "automatic" and ui.deviceSelector.itemText(1).startswith("cpu: ")
    ui.deviceSelector.setCurrentIndex(1)
    assert widget.logic.getParameterNode().device == "cpu"
