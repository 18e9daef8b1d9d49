"""The worker: quick answers to good requests, plain ones to bad, and no life of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_model import tiny_bundle
from tiny_study import SCHEMA, on_grid, subject
from waiting import wait

from brbs import segmentation_job
from brbs.model import ModelBundle
from brbs.predictor import Predictor
from brbs.segmentation_job import volumes
from brbs.volumes import read_label_map
from brbs.worker import Worker
from brbs.worker_client import WorkerClient

CPU = torch.device("cpu")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_bundle().save(tmp_path / "Modell")
    return tmp_path / "Modell"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    sitk.WriteImage(on_grid(subject(5)[0]), str(tmp_path / "Scan ä.nii.gz"))
    return tmp_path / "Scan ä.nii.gz"


@pytest.fixture
def client(tmp_path: Path):
    """A worker in a thread of its own, and its client."""
    client = WorkerClient(tmp_path / "Arbeit")
    thread = threading.Thread(target=Worker(client.folder, 1.0).run)
    thread.start()
    yield client
    client.stop()
    thread.join(20)
    assert not thread.is_alive()


def answer(client: WorkerClient, name: str) -> dict:
    wait(lambda: (client.answer(name) or {}).get("state") in ("finished", "failed"))
    return client.answer(name)


def test_scan_is_segmented_as_by_the_predictor(client: WorkerClient, model: Path, scan: Path, tmp_path: Path) -> None:
    unsure = tmp_path / "unsure.nrrd"
    found = answer(client, client.send(model, scan, tmp_path / "out.seg.nrrd", "cpu", uncertainty=unsure))
    assert found["state"] == "finished", found
    labels = read_label_map(tmp_path / "out.seg.nrrd", allow_empty=True)
    expected = Predictor(ModelBundle.load(model), CPU).segment(sitk.ReadImage(str(scan), sitk.sitkFloat32)).labels
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(expected))
    assert found["volumes"] == volumes(expected, SCHEMA)
    assert set(found["confidence"]) == {"Hülle", "Kern"}
    assert all(0 <= value <= 1 for value in found["confidence"].values())
    image = sitk.ReadImage(str(unsure))
    assert image.GetSize() == labels.GetSize()
    assert 0 <= sitk.GetArrayFromImage(image).min() <= sitk.GetArrayFromImage(image).max() <= 1


def test_model_is_loaded_once_and_again_when_it_has_changed(
    client: WorkerClient, model: Path, scan: Path, tmp_path: Path, monkeypatch
) -> None:
    loaded = []
    load = segmentation_job.LoadedModel.load
    monkeypatch.setattr(segmentation_job.LoadedModel, "load", lambda *a: loaded.append(1) or load(*a))
    for _ in range(2):
        assert answer(client, client.send(model, scan, tmp_path / "out.nii.gz", "cpu"))["state"] == "finished"
    assert len(loaded) == 1
    tiny_bundle(seed=1).save(model)
    assert answer(client, client.send(model, scan, tmp_path / "out.nii.gz", "cpu"))["state"] == "finished"
    assert len(loaded) == 2


def test_bad_requests_are_told_and_the_next_is_served(
    client: WorkerClient, model: Path, scan: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.nii.gz"
    (tmp_path / "empty").mkdir()
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkInt16), str(tmp_path / "constant.nrrd"))
    sitk.WriteImage(sitk.Image([4, 4, 4, 2], sitk.sitkInt16), str(tmp_path / "4d.nrrd"))
    bad = {
        "no model here": client.send(tmp_path / "empty", scan, output, "cpu"),
        "no such file": client.send(model, tmp_path / "gone.nrrd", output, "cpu"),
        "same value": client.send(model, tmp_path / "constant.nrrd", output, "cpu"),
        "4-D": client.send(model, tmp_path / "4d.nrrd", output, "cpu"),
        "not on this machine": client.send(model, scan, output, "cuda:9"),
    }
    for message, name in bad.items():
        found = answer(client, name)
        assert found["state"] == "failed" and message in found["message"]
    assert not output.exists()
    (client.folder / "requests" / "odd.json").write_text("{}", encoding="utf-8")
    assert answer(client, "odd")["state"] == "failed"
    assert answer(client, client.send(model, scan, output, "cpu"))["state"] == "finished"


def test_cancelled_request_writes_nothing(tmp_path: Path, model: Path, scan: Path) -> None:
    client = WorkerClient(tmp_path / "Arbeit")
    name = client.send(model, scan, tmp_path / "out.nii.gz", "cpu")
    client.cancel(name)
    client.stop()
    Worker(client.folder, 1.0).run()
    assert not (tmp_path / "out.nii.gz").exists()


def test_cancel_while_it_is_at_work(client: WorkerClient, model: Path, scan: Path, tmp_path: Path, monkeypatch) -> None:
    load, begun = segmentation_job.LoadedModel.load, threading.Event()

    def slow(*arguments):
        begun.set()
        time.sleep(0.5)
        return load(*arguments)

    monkeypatch.setattr(segmentation_job.LoadedModel, "load", slow)
    name = client.send(model, scan, tmp_path / "out.nii.gz", "cpu")
    assert begun.wait(20)
    client.cancel(name)
    assert answer(client, name)["message"] == "cancelled"
    assert not (tmp_path / "out.nii.gz").exists()


def test_cancel_between_the_windows_of_a_large_scan(
    client: WorkerClient, model: Path, tmp_path: Path, monkeypatch
) -> None:
    sitk.WriteImage(on_grid(np.tile(subject(5)[0], (3, 2, 2))), str(tmp_path / "large.nrrd"))
    classify, seen = Predictor._classify, []

    def cancelled_at_the_second(self, windows, *how):
        seen.append(len(windows))
        if len(seen) == 2:
            client.cancel(name)
        return classify(self, windows, *how)

    monkeypatch.setattr(Predictor, "_classify", cancelled_at_the_second)
    name = client.send(model, tmp_path / "large.nrrd", tmp_path / "out.nii.gz", "cpu")
    assert answer(client, name)["message"] == "cancelled"
    assert len(seen) == 2 and not (tmp_path / "out.nii.gz").exists()


def test_model_without_registration_has_a_confidence_too(client: WorkerClient, scan: Path, tmp_path: Path) -> None:
    tiny_bundle(registration=None).save(tmp_path / "S allein")
    found = answer(client, client.send(tmp_path / "S allein", scan, tmp_path / "out.nii.gz", "cpu"))
    assert found["state"] == "finished" and set(found["confidence"]) == {"Hülle", "Kern"}


def ends_by_itself(folder: Path, idle_minutes: float, parent: int | None = None) -> bool:
    """Whether a worker ends though nobody asks it to; it is asked in the end, so that no thread is left."""
    thread = threading.Thread(target=Worker(folder, idle_minutes, parent).run)
    thread.start()
    thread.join(30)
    ended = not thread.is_alive()
    WorkerClient(folder).stop()
    thread.join(30)
    return ended


def test_worker_ends_when_idle(tmp_path: Path) -> None:
    assert ends_by_itself(tmp_path / "idle", 0.001)


def test_worker_ends_with_its_parent(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert ends_by_itself(tmp_path / "orphan", 60.0, child.pid)


def test_worker_without_its_parent_leaves_no_scans_behind(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    for parent, left in ((None, ["exported.nrrd", "requests"]), (child.pid, [])):
        folder = tmp_path / f"served for {parent}"
        sitk.WriteImage(on_grid(subject(5)[0]), str(tmp_path / "own.nrrd"))
        folder.mkdir()
        shutil.copy(tmp_path / "own.nrrd", folder / "exported.nrrd")
        child.wait()
        Worker(folder, 0.001, parent).run()
        assert sorted(path.name for path in folder.glob("*")) == left
    assert not folder.exists() and (tmp_path / "own.nrrd").is_file()
