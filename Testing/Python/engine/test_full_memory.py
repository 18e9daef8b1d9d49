"""Memory too small for a step: it is spared, or else the training ends saying what to do, and nothing is lost."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny_study import SETTINGS, prepared_study, run, train_arguments
from tiny_training import train, weights

from brbs import commands, train_command
from brbs import trainer as trainer_module
from brbs.errors import InputError
from brbs.job import JobReader, JobWriter
from brbs.learner import Learner
from brbs.model import ModelBundle
from brbs.trainer import Budget, Trainer
from brbs.volumes import read_image, read_label_map

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


def fill_memory(monkeypatch: pytest.MonkeyPatch, at_step: int, sparing_fits: bool) -> None:
    """From the ``at_step``-th step of the process on the memory is too small, unless it is spared and that helps."""
    plain, count = Learner.step, [0]

    def step(self: Learner, progress: float):
        count[0] += 1
        if count[0] >= at_step and not (sparing_fits and self.segmentation.unet.sparing):
            raise torch.cuda.OutOfMemoryError(FULL)
        return plain(self, progress)

    monkeypatch.setattr(Learner, "step", step)


def test_step_that_does_not_fit_is_made_sparingly(tmp_path: Path, monkeypatch, caplog) -> None:
    expected, _ = train(tmp_path / "plain", Budget(steps=4))
    fill_memory(monkeypatch, 3, sparing_fits=True)
    with caplog.at_level(logging.WARNING, "brbs"):
        trained, finished = train(tmp_path / "full", Budget(steps=4))
    assert finished and trained.step == 4
    assert trained.learner.segmentation.unet.sparing and trained.learner.registration.unet.sparing
    assert "the memory of cpu is short" in caplog.text
    for name, value in weights(trained).items():
        torch.testing.assert_close(value, weights(expected)[name], rtol=1e-3, atol=1e-4)


def test_what_does_not_fit_sparingly_ends_with_a_checkpoint_for_the_processor(tmp_path: Path, monkeypatch) -> None:
    output = tmp_path / "Modell"
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 1e6)
    with monkeypatch.context() as patch:
        fill_memory(patch, 4, sparing_fits=False)
        with pytest.raises(InputError, match=r"the memory of cpu is too small .*--resume .*--spacing") as raised:
            train(output, Budget(steps=5))
    job = JobReader(output / "training")
    assert (job.state, job.message) == ("failed", str(raised.value))
    assert torch.load(output / "training/last.pt", weights_only=True)["progress"]["step"] == 3
    trained, finished = train(output, Budget(steps=5), resume=True)
    assert finished and trained.step == 5


def test_study_that_does_not_fit_is_told_with_what_to_do(tmp_path: Path, monkeypatch) -> None:
    def place(*_) -> None:
        raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")

    monkeypatch.setattr(trainer_module, "TrainingData", place)
    with JobWriter(tmp_path / "training") as job, pytest.raises(InputError, match="memory of mps is too small .*cpu"):
        Trainer(prepared_study(), SETTINGS, Budget(steps=1), torch.device("mps"), tmp_path, job)


@contextmanager
def little_memory(more: int) -> Iterator[None]:
    """This process may take so many bytes more than it has."""
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory so")
@pytest.mark.parametrize("read", [read_image, read_label_map])
def test_scan_that_does_not_fit_is_not_called_damaged(tmp_path: Path, read) -> None:
    """A file of a gigabyte that takes no room on the disk."""
    path, edge = tmp_path / "groß.nrrd", 1024
    header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {edge} {edge} {edge}\nencoding: raw\n\n"
    path.write_text(header)
    with path.open("r+b") as stream:
        stream.truncate(len(header) + edge**3)
    with little_memory(2**28), pytest.raises(InputError, match="groß.nrrd: .*memory is too small; close other"):
        read(path)


def test_command_without_memory_ends_with_what_to_do(monkeypatch, capsys) -> None:
    monkeypatch.setattr(commands, "devices", lambda _: torch.empty(2**60, dtype=torch.uint8))
    assert run(["devices"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("brbs: this computer's memory") and "close other programs" in told
    monkeypatch.setattr(commands, "devices", lambda _: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        run(["devices"])


def test_other_errors_are_left_as_they_are(tmp_path: Path, monkeypatch) -> None:
    def step(*_) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Learner, "step", step)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(tmp_path, Budget(steps=1))


def test_what_was_learned_before_the_memory_ran_out_moves_along(study, tmp_path: Path, monkeypatch) -> None:
    """The third step fails, sparingly too; the rest is made by the processor, which here is the device it had."""
    plain, count = Learner.step, [0]

    def step(self: Learner, progress: float):
        count[0] += 1
        if count[0] in (3, 4):
            raise torch.cuda.OutOfMemoryError(FULL)
        return plain(self, progress)

    monkeypatch.setattr(Learner, "step", step)
    monkeypatch.setattr(train_command, "_may_move", lambda *_: True)
    assert run(train_arguments(study, tmp_path / "model", steps=5)) == 0
    assert count[0] == 2 + 2 + 3
    assert torch.load(tmp_path / "model/training/last.pt", weights_only=True)["progress"]["step"] == 5
    assert JobReader(tmp_path / "model/training").state == "finished"


def test_a_device_that_nobody_chose_gives_way_to_the_processor(study, tmp_path: Path, monkeypatch, caplog) -> None:
    """A device on which the study finds no room stands in for a full GPU."""
    full, place = torch.device("meta"), trainer_module.TrainingData

    def placed(*arguments):
        if arguments[-1] == full:
            raise torch.cuda.OutOfMemoryError(FULL)
        return place(*arguments)

    monkeypatch.setattr("brbs.processes.choose_device", lambda name: full)
    monkeypatch.setattr("brbs.device.voxel_budget", lambda *_: 10**6)
    monkeypatch.setattr(trainer_module, "TrainingData", placed)
    arguments = train_arguments(study, tmp_path / "model", steps=2)
    chosen = arguments.index("--device") + 1
    assert run(arguments) == 2, "who has chosen a device is asked what to do"
    arguments[chosen] = "auto"
    with caplog.at_level(logging.WARNING, "brbs"):
        assert run(arguments) == 0
    assert "the training goes on with the processor" in caplog.text
    job = JobReader(tmp_path / "model/training")
    assert job.state == "finished" and job.description["device"] == "cpu"
    assert ModelBundle.load(tmp_path / "model").provenance["step"] == 2
