"""One click on a real scene: worker process, result nodes, models that come and go."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from scene_nodes import addLinearTransform
from tiny_model import tiny_bundle
from training_nodes import addSubject, loadSubject

from brbs.errors import InputError


def names(node) -> list[str]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]


def masks(node, volumeNode) -> list[np.ndarray]:
    return [
        slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volumeNode) != 0
        for segmentId in node.GetSegmentation().GetSegmentIDs()
    ]


def test_volume_becomes_a_segmentation(logic, model: Path) -> None:
    volumeNode = addSubject(0)[0]
    node = logic.segment(volumeNode, model, device="cpu")
    assert names(node) == ["Hülle", "Kern"]
    assert set(logic.confidence(node)) == {"Hülle", "Kern"}
    voxel = 1.0 * 1.5 * 2.0 / 1000
    table = logic.measurements(node).GetTable()
    for row, mask in enumerate(masks(node, volumeNode)):
        assert table.GetValue(row, 1).ToDouble() == pytest.approx(voxel * mask.sum(), abs=1e-6)
    assert not list(logic.worker.folder.glob("*.nrrd"))


def test_moved_volume_gets_the_same_voxels(logic, model: Path) -> None:
    """A rigid transform does not change what the networks see."""
    volumeNode = addSubject(0)[0]
    plain = masks(logic.segment(volumeNode, model, device="cpu"), volumeNode)
    volumeNode.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    node = logic.segment(volumeNode, model, device="cpu")
    assert node.GetTransformNodeID() == volumeNode.GetTransformNodeID()
    for one, other in zip(plain, masks(node, volumeNode)):
        assert (one != other).mean() < 0.02


def test_result_lies_on_a_volume_that_is_moved_meanwhile(logic, model: Path) -> None:
    volumeNode = addSubject(0)[0]
    plain = masks(logic.segment(volumeNode, model, device="cpu"), volumeNode)
    run = logic.startSegmentation(volumeNode, model, device="cpu")
    volumeNode.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    _wait(run)
    for one, other in zip(plain, masks(run.node, volumeNode)):
        np.testing.assert_array_equal(one, other)


def test_chosen_node_is_reused_and_file_is_read_in_place(logic, model: Path, tmp_path: Path) -> None:
    volumeNode = loadSubject(tmp_path / "scan.nrrd", 3)
    node = logic.segment(volumeNode, model, device="cpu")
    assert logic.segment(volumeNode, model, node, device="cpu") is node
    assert names(node) == ["Hülle", "Kern"]
    assert (tmp_path / "scan.nrrd").is_file()


def test_worker_names_nobody_in_its_log(logic, monkeypatch) -> None:
    started, start = [], logic.worker._engine.start

    def watched(command, *rest):
        started.append(command)
        return start(command, *rest)

    monkeypatch.setattr(logic.worker._engine, "start", watched)
    logic.worker.start()
    assert started[0][:4] == ["-m", "brbs", "--hide-names", "worker"]


def test_killed_worker_is_told_and_the_next_click_works(logic, model: Path) -> None:
    volumeNode = addSubject(0)[0]
    run = logic.startSegmentation(volumeNode, model, device="cpu")
    logic.worker._process.kill()
    logic.worker._process.wait()
    assert run.poll()
    assert (run.state, "press Apply again" in run.message) == ("failed", True)
    assert names(logic.segment(volumeNode, model, device="cpu")) == ["Hülle", "Kern"]


def test_bad_input_is_told(logic, model: Path, tmp_path: Path) -> None:
    volumeNode = addSubject(0)[0]
    with pytest.raises(InputError, match="no model here"):
        logic.segment(volumeNode, tmp_path, device="cpu")
    slicer.util.arrayFromVolume(volumeNode)[:] = 7
    slicer.util.arrayFromVolumeModified(volumeNode)
    with pytest.raises(InputError, match="^Scan 0: every voxel has the same value"):
        logic.segment(volumeNode, model, device="cpu")
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "leer")
    with pytest.raises(InputError, match="leer"):
        logic.segment(empty, model, device="cpu")


def test_nodes_deleted_meanwhile(logic, model: Path) -> None:
    volumeNode = addSubject(0)[0]
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "weg")
    run = logic.startSegmentation(volumeNode, model, output, device="cpu")
    slicer.mrmlScene.RemoveNode(output)
    _wait(run)
    assert (run.state, names(run.node)) == ("finished", ["Hülle", "Kern"])
    run = logic.startSegmentation(volumeNode, model, device="cpu")
    slicer.mrmlScene.RemoveNode(volumeNode)
    _wait(run)
    assert (run.state, run.node) == ("failed", None)
    assert "deleted" in run.message


def test_volume_of_the_next_scene_gets_no_result_of_an_earlier_one(logic, model: Path) -> None:
    volumeNode = addSubject(0)[0]
    before = volumeNode.GetID()
    run = logic.startSegmentation(volumeNode, model, device="cpu")
    slicer.mrmlScene.Clear(0)
    assert addSubject(1)[0].GetID() == before
    _wait(run)
    assert (run.state, run.node) == ("failed", None) and "deleted" in run.message


def test_cancel_while_the_worker_reads_the_scan(logic, model: Path, monkeypatch) -> None:
    """Windows removes no file that another process reads."""
    unlink = Path.unlink

    def unlinkUnlessRead(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("scan "):
            raise PermissionError(path)
        unlink(path, missing_ok)

    run = logic.startSegmentation(addSubject(0)[0], model, device="cpu")
    monkeypatch.setattr(Path, "unlink", unlinkUnlessRead)
    run.cancel()
    assert (run.state, run.message) == ("failed", "Cancelled.")


def test_result_deleted_before_its_confidence_is_there(logic, model: Path) -> None:
    run = logic.startSegmentation(addSubject(0)[0], model, device="cpu")
    while run.node is None and run.active:
        run.poll()
        time.sleep(0.01)
    slicer.mrmlScene.RemoveNode(run.node)
    _wait(run)
    assert run.state == "finished" and slicer.mrmlScene.GetNodeByID(run.node.GetID() or "") is None


def test_model_in_a_folder_called_models_is_of_no_study(logic, tmp_path: Path) -> None:
    import BRBSTraining

    tiny_bundle().save(tmp_path / "Berta/models/Herz")
    assert (logic.addModel(tmp_path / "Berta/models/Herz").study, logic.models()[0].name) == (None, "Herz")
    BRBSTraining.BRBSTrainingLogic().createStudy(tmp_path / "Berta")
    assert (logic.models()[0].study, logic.models()[0].name) == (tmp_path / "Berta", "Berta Herz")


def test_uncertainty_volume_is_the_same_node_each_time_and_has_no_file(logic, model: Path) -> None:
    volumeNode, node, found = addSubject(0)[0], None, []
    for _ in range(2):
        run = logic.startSegmentation(volumeNode, model, node, device="cpu", uncertainty=True)
        _wait(run)
        node = run.node
        found.append(run.uncertaintyNode)
    assert found[0] is found[1] is not None
    names = [each.GetName() for each in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert sorted(names) == ["Scan 0", f"{node.GetName()} uncertainty"]
    assert slicer.util.getNodesByClass("vtkMRMLVolumeArchetypeStorageNode") == []
    assert slicer.util.getNodesByClass("vtkMRMLNRRDStorageNode") == []
    values = slicer.util.arrayFromVolume(found[1])
    assert values.shape == slicer.util.arrayFromVolume(volumeNode).shape and 0 <= values.min() < values.max() <= 1
    slicer.mrmlScene.RemoveNode(found[1])
    run = logic.startSegmentation(volumeNode, model, node, device="cpu", uncertainty=True)
    _wait(run)
    assert slicer.mrmlScene.IsNodePresent(run.uncertaintyNode)


def test_uncertainty_volume_that_cannot_be_read_ends_the_run(logic, model: Path) -> None:
    run = logic.startSegmentation(addSubject(0)[0], model, device="cpu", uncertainty=True)
    while logic.worker.client.answer(run._id) is None or logic.worker.client.answer(run._id)["state"] != "finished":
        time.sleep(0.01)
    run._uncertainty.write_text("no volume")
    _wait(run)
    assert run.state == "failed" and "Scan 0: its uncertainty volume cannot be read" in run.message
    assert names(run.node) == ["Hülle", "Kern"] and run.uncertaintyNode is None


def test_models_are_added_removed_and_exchanged(logic, model: Path, tmp_path: Path, monkeypatch) -> None:
    settings = str(tmp_path / "home/Slicer.ini")
    monkeypatch.setattr(type(slicer.app), "slicerUserSettingsFilePath", settings, raising=False)
    assert logic.models() == []
    logic.addModel(model)
    assert [known.folder for known in logic.models()] == [model]
    logic.exportModel(logic.models()[0], tmp_path / "für Berta.zip")
    logic.removeModel(model)
    assert logic.models() == []
    assert (model / "model.json").is_file()
    imported = logic.importModel(tmp_path / "für Berta.zip")
    assert imported.folder == tmp_path / "home/BRBS models/für Berta"
    assert [known.folder for known in logic.models()] == [imported.folder]
    with pytest.raises(InputError, match="no model here"):
        logic.addModel(tmp_path)


def _wait(run, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while run.active:
        assert time.monotonic() < end
        run.poll()
        time.sleep(0.01)
