"""The module's logic on a real scene, with real child processes and real trainings of a few steps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from children import environment
from tiny_study import SETTINGS
from training_nodes import addSubject, loadSubject
from waiting import wait

from brbs.errors import InputError
from brbs.job import queue_job
from brbs.process_exists import process_exists

LONG = 1_000_000  # steps: more than any test waits for


@pytest.fixture
def logic(application):
    """The logic; trainings that a test leaves running are ended after it."""
    import BRBSTraining

    made = BRBSTraining.BRBSTrainingLogic()
    yield made
    for job in made._jobs.values():
        job.kill()


@pytest.fixture
def study(logic, tmp_path: Path):
    """A study of nodes of the scene: two atlases and two unlabeled scans."""
    study = logic.createStudy(tmp_path / "Köpfe und mehr" / "Studie 1")
    study.setSettings(SETTINGS)
    for seed in range(2):
        logic.addAtlas(study, *addSubject(seed))
    for seed in range(2, 4):
        logic.addUnlabeled(study, addSubject(seed)[0])
    return study


def running(logic, study):
    """A training that has taken its first steps and saved them."""
    job = logic.startTraining(study, steps=LONG, device="cpu")
    wait(lambda: (job.folder / "last.pt").is_file() or not job.active)
    assert job.state == "running", job.message
    return job


def test_training_from_nodes_to_model(logic, study) -> None:
    job = logic.startTraining(study, steps=5, device="cpu")
    assert job.state in ("queued", "running")
    assert logic.waitForJob(job, 120)
    assert (job.state, job.progress) == ("finished", 1.0), job.log()
    assert {event["kind"] for event in job.events()} == {"losses", "validation"}
    assert "training on cpu" in job.log() and not [word for word in ("Studie", "Scan", "/") if word in job.log()]
    (model,) = logic.models()
    assert model.folder == job.model
    assert model.name == "Studie 1 001"
    assert [label["name"] for label in model.description["labels"]] == ["Hülle", "Kern"]
    assert model.description["provenance"]["unlabeled_count"] == 2


def test_second_training_is_refused_while_one_runs(logic, study) -> None:
    job = running(logic, study)
    with pytest.raises(InputError, match="has been training it since"):
        logic.startTraining(study, steps=5)
    assert study.modelFolders == [job.model]
    logic.stopTraining(job)
    assert logic.waitForJob(job, 60)
    assert logic.startTraining(study, steps=1, device="cpu").model.name == "002"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_no_training_begins_beside_one_that_may_live(logic, study, state: str) -> None:
    folder = study.newModelFolder() / "training"
    queue_job(folder, study=str(study.folder))
    told = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    asleep = {**told, "state": state, "host": "elsewhere", "heartbeat": time.time() - 3600}
    (folder / "job.json").write_text(json.dumps(asleep), encoding="utf-8")
    with pytest.raises(InputError, match="001: is being trained; wait for it, or stop it"):
        logic.startTraining(study, steps=1, device="cpu")
    assert [path.name for path in study.modelFolders] == ["001"]


def test_killed_training_has_failed_and_can_be_resumed(logic, study) -> None:
    job = running(logic, study)
    os.kill(job.description["pid"], getattr(signal, "SIGKILL", signal.SIGTERM))
    wait(lambda: job.state == "failed", 10)
    assert "training on cpu" in job.message
    assert job.resumable
    again = logic.resumeTraining(study, job, device="cpu")
    assert again.model == job.model
    wait(lambda: "going on at step" in again.log() and again.state == "running")
    logic.stopTraining(again)
    assert logic.waitForJob(again, 60)
    assert again.state == "finished"


def test_stop_keeps_a_model(logic, study) -> None:
    job = running(logic, study)
    logic.stopTraining(job)
    assert logic.waitForJob(job, 60)
    assert job.state == "finished"
    assert job.progress < 1
    assert logic.models()[0].folder == job.model


def test_pause_rests_until_resumed(logic, study) -> None:
    job = running(logic, study)
    job.pause()
    wait(lambda: job.state == "paused", 20)
    count = len(job.events())
    time.sleep(2.5)  # longer than between two reports
    assert len(job.events()) == count
    job.resume()
    wait(lambda: job.state == "running" and len(job.events()) > count, 20)


def test_training_outlives_its_slicer_and_is_found_again(logic, study, tmp_path: Path) -> None:
    """Another process starts the training and ends; this one finds it running."""
    script = tmp_path / "other slicer.py"
    script.write_text(
        "import sys\n"
        "from standin.scene import installScene\n"
        "from standin.widgets import installWidgets\n"
        "scene, application = installScene(), installWidgets()\n"
        "import BRBSTraining\n"
        "logic = BRBSTraining.BRBSTrainingLogic()\n"
        f"job = logic.startTraining(logic.openStudy(sys.argv[1]), steps={LONG}, device='cpu')\n"
        "print(job.model)\n",
        encoding="utf-8",
    )
    ended = subprocess.run(
        [sys.executable, str(script), str(study.folder)],
        env=environment(*sys.path, PYTHONUTF8="1"),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    job = logic.lastJob(logic.openStudy(study.folder))
    assert str(job.model) == ended.stdout.strip().splitlines()[-1]
    wait(lambda: job.state == "running" and job.newEvents())
    with pytest.raises(InputError, match="has been training it since"):
        logic.startTraining(study, steps=5)
    logic.stopTraining(job)
    assert logic.waitForJob(job, 60)
    wait(lambda: not process_exists(job.description["pid"]), 10)


def test_scene_may_be_closed_while_a_training_runs(logic, study, scene) -> None:
    job = running(logic, study)
    scene.Clear()
    assert job.state == "running"
    logic.stopTraining(job)
    assert logic.waitForJob(job, 60)
    assert job.state == "finished"


def test_unusable_atlas_is_told_by_the_job(logic, study) -> None:
    atlas = study.study.atlases[0]
    atlas.labels.write_bytes(b"no image")
    job = logic.startTraining(study, steps=5, device="cpu")
    assert logic.waitForJob(job, 60)
    assert job.state == "failed"
    assert str(atlas.labels) in job.message
    assert logic.models() == []


def test_child_finds_the_engine_wherever_it_lies(logic, tmp_path: Path, monkeypatch) -> None:
    import brbs

    package = shutil.copytree(Path(brbs.__file__).parent, tmp_path / "Erweiterung für Köpfe" / "brbs")
    monkeypatch.setattr("BRBSTrainingLib.Engine.PACKAGE_PARENT", package.parent)
    output = tmp_path / "Ausgabe.txt"
    assert logic.engine.start(["-c", "import brbs; print(brbs.__file__)"], output).wait(60) == 0
    assert Path(output.read_text(encoding="utf-8").strip()) == package / "__init__.py"


def test_python_without_engine_is_told(logic, study, tmp_path: Path) -> None:
    logic.engine.chosenPython = tmp_path / "no such python"
    with pytest.raises(InputError, match="no such python.*engine Python"):
        logic.startTraining(study, steps=5)
    assert study.modelFolders == []


def test_engine_that_dies_at_once_has_failed(logic, study) -> None:
    job = logic.startTraining(study, steps=5, device="no-such-device")
    assert logic.waitForJob(job, 60)
    assert job.state == "failed"
    assert "no-such-device" in job.message


def test_volume_read_from_a_file_is_not_copied(logic, study, tmp_path: Path) -> None:
    path = tmp_path / "scan ä.nrrd"
    volumeNode = loadSubject(path, 7)
    logic.addUnlabeled(study, volumeNode)
    assert study.study.unlabeled[-1] == path
    assert not any("scan ä" in name for name in os.listdir(study.folder / "scans"))


def test_atlas_is_no_longer_unlabeled(logic, study) -> None:
    volumeNode, segmentationNode = addSubject(9)
    logic.addUnlabeled(study, volumeNode)
    count = len(study.study.unlabeled)
    logic.addAtlas(study, volumeNode, segmentationNode)
    assert len(study.study.unlabeled) == count - 1
    assert len(study.study.atlases) == 3


def test_adding_the_same_nodes_again_renews_the_atlas(logic, study) -> None:
    volumeNode, segmentationNode = addSubject(9)
    logic.addAtlas(study, volumeNode, segmentationNode)
    before = study.study.atlases[-1]
    slicer.util.arrayFromVolume(volumeNode)[:] += np.float32(5)
    slicer.util.arrayFromVolumeModified(volumeNode)
    logic.addAtlas(study, volumeNode, segmentationNode)
    assert study.study.atlases[-1] == before
    assert len(study.study.atlases) == 3


def test_removing_deletes_no_file(logic, study) -> None:
    files = {path for path in study.folder.rglob("*") if path.is_file()}
    study.removeAtlases([atlas.image for atlas in study.study.atlases])
    study.removeUnlabeled(study.study.unlabeled)
    assert study.study.atlases == study.study.unlabeled == []
    assert {path for path in study.folder.rglob("*") if path.is_file()} == files


def test_study_is_reopened_as_it_was(logic, study) -> None:
    again = logic.openStudy(study.folder)
    assert again.study == study.study
    with pytest.raises(InputError, match="holds a study already"):
        logic.createStudy(study.folder)


def test_parameter_node_survives_the_scene_file(logic, study, scene, tmp_path: Path) -> None:
    parameters = logic.getParameterNode()
    parameters.studyFolder, parameters.preset, parameters.minutes = str(study.folder), "paper", 25
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.SetRootDirectory(str(tmp_path))
    assert scene.Commit()
    scene.Clear()
    assert logic.getParameterNode().studyFolder == ""
    scene.Clear()
    assert scene.Connect()
    loaded = logic.getParameterNode()
    assert (loaded.studyFolder, loaded.preset, loaded.minutes) == (str(study.folder), "paper", 25)


@pytest.mark.parametrize("record", ["{", '{"format": 99, "state": "running"}'])
def test_training_with_an_unreadable_record_is_passed_over(logic, study, record: str) -> None:
    assert logic.lastJob(study) is None
    job = logic.startTraining(study, steps=1, device="cpu")
    assert logic.waitForJob(job, 60)
    odd = study.newModelFolder() / "training"
    odd.mkdir(parents=True)
    (odd / "job.json").write_text(record, encoding="utf-8")
    assert logic.lastJob(logic.openStudy(study.folder)).model == job.model


def test_models_of_a_moved_study_are_left_out(logic, study, tmp_path: Path) -> None:
    job = logic.startTraining(study, steps=1, device="cpu")
    assert logic.waitForJob(job, 60)
    description = json.loads((job.model / "model.json").read_text(encoding="utf-8"))
    (job.model / "model.json").write_text("{", encoding="utf-8")
    assert logic.models() == []
    (job.model / "model.json").write_text(json.dumps(description), encoding="utf-8")
    assert len(logic.models()) == 1
    study.folder.rename(tmp_path / "moved")
    assert logic.models() == []
