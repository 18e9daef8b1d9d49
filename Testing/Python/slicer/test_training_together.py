"""All GPUs of a computer at once: when they are offered, how they are started, and that such a training obeys."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from launched import needs_processes
from tiny_study import SETTINGS
from training_nodes import addSubject
from waiting import wait

LONG = 1_000_000  # steps: more than the test waits for
CPU = {"name": "cpu", "label": "CPU"}
ONE = {"name": "cuda:0", "label": "GPU A"}
TWO = {"name": "cuda:1", "label": "GPU B"}


@pytest.fixture
def selector(application):
    import qt

    return qt.QComboBox()


@pytest.mark.parametrize(
    ("devices", "together", "offered"),
    [
        ([ONE, TWO, CPU], True, True),
        ([ONE, TWO, CPU], False, False),
        ([ONE, CPU], True, False),
        ([ONE, TWO | {"error": "driver too old"}, CPU], True, False),
        ([CPU], True, False),
    ],
)
def test_all_gpus_are_offered_where_several_work(selector, monkeypatch, devices, together, offered) -> None:
    from BRBSTrainingLib.DeviceSelector import DeviceSelector

    monkeypatch.setattr("BRBSTrainingLib.AllDevices.CONNECTABLE", True)
    devicesShown = DeviceSelector(selector, together=together)
    devicesShown.show(devices)
    last = selector.itemText(selector.count - 1)
    assert (last == "all 2 GPUs") == offered


def test_windows_cannot_connect_gpus(monkeypatch) -> None:
    from BRBSTrainingLib.AllDevices import gpusTogether

    monkeypatch.setattr("BRBSTrainingLib.AllDevices.CONNECTABLE", True)
    assert gpusTogether([ONE, TWO, CPU]) == 2
    monkeypatch.setattr("BRBSTrainingLib.AllDevices.CONNECTABLE", False)
    assert gpusTogether([ONE, TWO, CPU]) == 0


def test_chosen_together_they_are_launched_and_alone_one_works(selector, application, monkeypatch) -> None:
    import BRBSTraining
    from BRBSTrainingLib.AllDevices import oneDevice, trainCommand
    from BRBSTrainingLib.DeviceSelector import DeviceSelector

    monkeypatch.setattr("BRBSTrainingLib.AllDevices.CONNECTABLE", True)
    devices = DeviceSelector(selector, together=True)
    devices.setParameters(BRBSTraining.BRBSTrainingLogic().getParameterNode())
    devices.show([ONE, TWO, CPU])
    selector.setCurrentIndex(selector.count - 1)
    command = " ".join(trainCommand(["--study", "S"], devices.device))
    launcher = "-m brbs.torchrun --standalone --nproc-per-node gpu"
    assert command == f"{launcher} -m brbs --hide-names train --study S --device cuda"
    assert oneDevice(devices.device) == "cuda"
    assert trainCommand([], "cuda:1") == ["-m", "brbs", "--hide-names", "train", "--device", "cuda:1"]
    devices.show([ONE, CPU])  # a scene from a computer with more of them
    assert devices.device == "auto"


def running(study: Path) -> list[int]:
    """Processes with a study's folder among their arguments, where the system lists them as files."""
    told = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            told[int(path.parent.name)] = path.read_bytes()
    return [pid for pid, command in told.items() if os.fsencode(study) in command]


@needs_processes
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="not offered there")
def test_training_of_two_processes_obeys_as_that_of_one(application, monkeypatch, tmp_path: Path) -> None:
    import BRBSTraining
    from BRBSTrainingLib import AllDevices

    monkeypatch.setattr(AllDevices, "LAUNCHER", [*AllDevices.LAUNCHER[:-1], "2"])
    monkeypatch.setattr(AllDevices, "oneDevice", lambda device: "cpu")
    logic = BRBSTraining.BRBSTrainingLogic()
    study = logic.createStudy(tmp_path / "Köpfe und mehr" / "Studie 1")
    study.setSettings(SETTINGS)
    for seed in range(2):
        logic.addAtlas(study, *addSubject(seed))
    logic.addUnlabeled(study, addSubject(2)[0])
    job = logic.startTraining(study, steps=LONG, device=AllDevices.ALL_GPUS)
    try:
        wait(lambda: (job.folder / "last.pt").is_file() or not job.active)
        assert job.state == "running", job.log()
        job.pause()
        wait(lambda: job.state == "paused")
        found = BRBSTraining.BRBSTrainingLogic().lastJob(study)  # as after Slicer has been closed
        assert (found.model, found.state) == (job.model, "paused")
        found.resume()
        wait(lambda: job.state == "running")
        found.stop()
        assert logic.waitForJob(job, 90) and job.state == "finished", job.log()
        wait(lambda: job._process.poll() is not None)
        assert job._process.returncode == 0

        again = logic.resumeTraining(study, job, device=AllDevices.ALL_GPUS)
        wait(lambda: "going on at step" in again.log() and again.state == "running")
        assert "process(es)" not in again.log(), "as many as before"
        again.kill()
        wait(lambda: again._process.poll() is not None)  # the launcher, which waits for its processes
        assert running(study.folder) == []
        assert again.state == "failed" and again.resumable
    finally:
        for left in logic._jobs.values():
            left.kill()
