"""Many scans through a real child process: files, table, states, what goes on after an interruption."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from scene_nodes import addLinearTransform
from tiny_model import tiny_bundle
from tiny_study import SCHEMA, on_grid, subject
from training_nodes import addSubject, loadSubject

from brbs.errors import InputError
from brbs.job import JobReader, JobWriter, queue_job
from brbs.volumes import read_label_schema


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "Ergebnisse Köln"


def finish(batch, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while batch.active:
        assert time.monotonic() < end
        time.sleep(0.05)
    while batch.poll():
        pass
    return batch


def states(batch) -> dict[str, str]:
    return {scan.scan.name: scan.state for scan in batch.scans.values()}


def test_volumes_and_files_become_files_and_a_table(logic, model: Path, output: Path, tmp_path: Path) -> None:
    moved, broken = addSubject(1)[0], tmp_path / "kaputt.nii.gz"
    moved.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    sitk.WriteImage(on_grid(subject(2)[0]), str(broken))
    broken.write_bytes(broken.read_bytes()[:300])
    onDisk = loadSubject(tmp_path / "Berta.nrrd", 3)
    batch = finish(logic.segmentBatch([moved, broken, onDisk], model, output, device="cpu"))
    assert states(batch) == {"Scan 1.nrrd": "finished", "kaputt.nii.gz": "failed", "Berta.nrrd": "finished"}
    assert batch.state == "finished" and "1 failed of 3" in batch.message
    assert "scan 3 -> label map 3" in batch.log() and "scan 2: " in batch.log()
    assert not [word for word in ("kaputt", "Berta", "Scan 1", str(tmp_path)) if word in batch.log()]
    for name in ("Scan 1", "Berta"):
        assert [meta[1] for meta in read_label_schema(output / f"{name}.seg.nrrd")] == ["Hülle", "Kern"]
    with batch.table.open(newline="", encoding="utf-8-sig") as stream:
        assert [row["state"] for row in csv.DictReader(stream)] == ["finished", "failed", "finished"]
    assert not (output / "BRBS batch/scans").exists()  # what was exported is gone, the scan's own file is not
    assert (tmp_path / "Berta.nrrd").is_file()


def test_started_again_does_only_what_is_new(logic, model: Path, output: Path) -> None:
    first = addSubject(1)[0]
    before = finish(logic.segmentBatch([first], model, output, device="cpu")).scans
    again = finish(logic.segmentBatch([first, addSubject(2)[0]], model, output, device="cpu"))
    assert states(again) == {"Scan 1.nrrd": "skipped", "Scan 2.nrrd": "finished"}
    (old,), new = before.values(), next(iter(again.scans.values()))
    assert new.volumes == pytest.approx(old.volumes) and new.confidence == pytest.approx(old.confidence, abs=1e-3)


def test_a_folder_filtered_by_name_as_nifti(logic, model: Path, output: Path, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for name in ("a_T1", "a_T2", "b_T1"):
        sitk.WriteImage(on_grid(subject(len(name))[0]), str(tmp_path / f"scans/{name}.nrrd"))
    batch = logic.segmentBatch(tmp_path / "scans", model, output, "cpu", suffix=".nii.gz", pattern="*_t1.nrrd")
    assert states(finish(batch)) == {"a_T1.nrrd": "finished", "b_T1.nrrd": "finished"}
    assert sorted(path.name for path in output.glob("*.nii.gz")) == ["a_T1.nii.gz", "b_T1.nii.gz"]


def test_results_are_shown_with_names_whatever_their_format(logic, model: Path, output: Path) -> None:
    from BRBSSegmentationLib.SegmentationBatch import loadResult

    volumeNode = addSubject(1)[0]
    for suffix in (".nii.gz", ".seg.nrrd"):
        batch = finish(logic.segmentBatch([volumeNode], model, output, device="cpu", suffix=suffix))
        (scan,) = batch.scans.values()
        node = loadResult(scan, volumeNode, batch)
        segmentation = node.GetSegmentation()
        for index, label in enumerate(SCHEMA.labels):
            segment = segmentation.GetNthSegment(index)
            assert segment.GetName() == label.name
            np.testing.assert_allclose(segment.GetColor(), label.colour, atol=0.01)
        assert logic.confidence(node) == pytest.approx(scan.confidence)


def test_result_that_names_its_structures_is_shown_without_the_model(logic, model: Path, output: Path) -> None:
    from BRBSSegmentationLib.SegmentationBatch import loadResult

    volumeNode = addSubject(1)[0]
    batch = finish(logic.segmentBatch([volumeNode], model, output, device="cpu"))
    shutil.rmtree(model)
    (batch.folder / "job.json").write_text("{", encoding="utf-8")
    segmentation = loadResult(*batch.scans.values(), volumeNode, batch).GetSegmentation()
    assert [segmentation.GetNthSegment(index).GetName() for index in range(2)] == ["Hülle", "Kern"]


def test_result_lies_on_a_file_that_was_moved_in_the_scene(logic, model: Path, output: Path, tmp_path: Path) -> None:
    from BRBSSegmentationLib.SegmentationBatch import loadResult

    volumeNode = loadSubject(tmp_path / "Berta.nrrd", 1)
    batch = finish(logic.segmentBatch([volumeNode], model, output, device="cpu"))
    volumeNode.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    (scan,) = batch.scans.values()
    node = loadResult(scan, volumeNode, batch)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(scan.labels)))
    for segmentId, label in zip(node.GetSegmentation().GetSegmentIDs(), SCHEMA.labels):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volumeNode)
        np.testing.assert_array_equal(found != 0, values == label.value)


def test_result_without_its_scan_lies_where_the_scan_lay(logic, model: Path, output: Path) -> None:
    from BRBSSegmentationLib.SegmentationBatch import loadResult

    volumeNode = addSubject(1)[0]
    volumeNode.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    batch = finish(logic.segmentBatch([volumeNode], model, output, device="cpu", suffix=".nii.gz"))
    (scan,) = batch.scans.values()
    there = loadResult(scan, volumeNode, batch)
    slicer.mrmlScene.RemoveNode(volumeNode)
    alone = loadResult(scan, None, batch)
    assert alone.GetName().startswith("Scan 1 segmentation") and alone.GetNodeReference("BRBS.Scan") is None
    assert logic.confidence(alone) == logic.confidence(there) == scan.confidence
    for index in range(len(SCHEMA.labels)):
        centres = [node.GetSegmentCenterRAS(node.GetSegmentation().GetNthSegmentID(index)) for node in (there, alone)]
        np.testing.assert_allclose(*centres, atol=0.01)


def test_exports_stay_until_the_batch_has_certainly_ended(application, output: Path, monkeypatch) -> None:
    from BRBSSegmentationLib.SegmentationBatch import SegmentationBatch

    export = output / "BRBS batch/scans/Scan 1.nrrd"
    queue_job(output / "BRBS batch")
    export.parent.mkdir()
    export.touch()
    (output / "BRBS batch/scans.txt").write_text(f"{export}\n", encoding="utf-8")
    job = output / "BRBS batch/job.json"
    told = json.loads(job.read_text(encoding="utf-8"))
    job.write_text(json.dumps({**told, "state": "running", "host": "elsewhere", "heartbeat": 0.0}), encoding="utf-8")
    batch = SegmentationBatch(output)
    assert batch.poll() and not batch.poll() and batch.active
    monkeypatch.setattr("BRBSTrainingLib.JobWatch.SILENCE_SECONDS", -1.0)
    assert batch.poll() and batch.state == "failed" and export.exists()
    monkeypatch.undo()
    with JobWriter(output / "BRBS batch"):
        assert batch.poll() and batch.active and export.exists()
    assert batch.poll() and batch.state == "finished" and not export.exists()
    assert not batch.poll()


def test_segmentations_of_others_are_not_written_over(logic, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Daten"
    folder.mkdir()
    sitk.WriteImage(on_grid(subject(1)[0]), str(folder / "scan1.nii.gz"))
    (folder / "scan1.seg.nrrd").write_text("by hand")
    with pytest.raises(InputError, match="scan1.seg.nrrd: is there already.*choose another folder"):
        logic.segmentBatch(folder, model, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["scan1.nii.gz", "scan1.seg.nrrd"]


def test_corrected_results_are_not_written_over(logic, model: Path, output: Path, tmp_path: Path) -> None:
    scans = [tmp_path / f"scan{number}.nrrd" for number in (1, 2)]
    for number, scan in enumerate(scans):
        sitk.WriteImage(on_grid(subject(number)[0]), str(scan))
    finish(logic.segmentBatch(scans[:1], model, output, device="cpu"))
    corrected, signs = output / "scan1.seg.nrrd", [output / "segmentations.csv", output / "BRBS batch/job.json"]
    age(corrected, *signs)
    corrected.write_text("by hand")
    again = finish(logic.segmentBatch(scans, model, output, device="cpu"))
    assert states(again) == {"scan1.nrrd": "skipped", "scan2.nrrd": "finished"}
    age(corrected)  # now the table is newer
    tiny_bundle(seed=1).save(tmp_path / "neues Modell")
    with pytest.raises(InputError, match="scan1.seg.nrrd: has been corrected.*choose another folder"):
        logic.segmentBatch(scans, tmp_path / "neues Modell", output, device="cpu")
    assert corrected.read_text() == "by hand"
    with pytest.raises(InputError, match="scan1.seg.nrrd: has been corrected"):
        logic.segmentBatch(scans, model, output, device="cpu", components="largest")
    assert corrected.read_text() == "by hand"
    other = finish(logic.segmentBatch(scans[1:], tmp_path / "neues Modell", output, device="cpu"))
    assert states(other) == {"scan2.nrrd": "finished"}


def age(*files: Path) -> None:
    """Makes files as old as if they had been written an hour ago."""
    for file in files:
        then = time.time() - 3600
        os.utime(file, (then, then))


def test_batch_is_found_again_and_goes_on_after_a_kill(logic, model: Path, output: Path) -> None:
    from BRBSSegmentationLib.SegmentationBatch import SegmentationBatch

    volumeNodes = [addSubject(number)[0] for number in range(3)]
    batch = logic.segmentBatch(volumeNodes, model, output, device="cpu")
    with pytest.raises(InputError, match="a batch is running there"):
        logic.segmentBatch(volumeNodes, model, output)
    found = SegmentationBatch(output)
    assert found.active and list(found.scans) == list(batch.scans)
    while JobReader(found.folder).state == "queued":
        time.sleep(0.02)
    found.kill()
    assert finish(batch).state == "failed"
    assert "running" not in states(batch).values()
    again = finish(logic.segmentBatch(volumeNodes, model, output, device="cpu"))
    assert set(states(again).values()) <= {"finished", "skipped"}


def test_stopped_batch_ends_well(logic, model: Path, output: Path) -> None:
    batch = logic.segmentBatch([addSubject(number)[0] for number in range(4)], model, output, device="cpu")
    batch.stop()
    assert finish(batch).state == "finished"
    assert batch.message.startswith("stopped")


def test_volumes_of_one_name_and_of_odd_names_stay_apart(logic, model: Path, output: Path) -> None:
    nodes = [addSubject(number)[0] for number in range(3)]
    for node, name in zip(nodes, ("T1: Käthe?", "T1: Käthe?", "..")):
        node.SetName(name)
    batch = finish(logic.segmentBatch(nodes, model, output, device="cpu"))
    assert list(states(batch)) == ["T1_ Käthe_.nrrd", "T1_ Käthe__2.nrrd", "scan.nrrd"]
    assert set(states(batch).values()) == {"finished"}


def test_bad_input_is_told_before_anything_is_begun(logic, model: Path, output: Path, tmp_path: Path) -> None:
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "leer")
    (tmp_path / "nothing").mkdir()
    for inputs, told in (([empty], "leer"), ([], "no scans to be segmented"), (tmp_path / "nothing", "no scans")):
        with pytest.raises(InputError, match=told):
            logic.segmentBatch(inputs, model, output)
    assert not output.exists()


def test_unusable_model_is_told_by_the_job(logic, output: Path, tmp_path: Path) -> None:
    batch = finish(logic.segmentBatch([addSubject(0)[0]], tmp_path, output, device="cpu"))
    assert batch.state == "failed" and "no model here" in batch.message


def test_volumes_of_the_next_scene_are_not_written_under_the_old_names(logic, model: Path, output: Path) -> None:
    from BRBSSegmentationLib.BatchPreparation import BatchPreparation

    nodes = [addSubject(number)[0] for number in range(2)]
    before = [node.GetID() for node in nodes]
    preparation = BatchPreparation(logic.engine, nodes, model, output, "cpu", ".seg.nrrd", "all")
    preparation.step()
    slicer.mrmlScene.Clear(0)
    assert [addSubject(number)[0].GetID() for number in (2, 3)] == before
    preparation.step()
    assert [path.name for path in output.rglob("*.nrrd")] == ["Scan 0.nrrd"]
