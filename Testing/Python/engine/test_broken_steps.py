"""Steps whose losses or gradients are no numbers: left out, and after many in a row the last good state returns."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_study import SETTINGS
from tiny_training import train, weights
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from brbs import trainer as trainer_module
from brbs.errors import InputError
from brbs.job import JobReader
from brbs.learner import Learner
from brbs.model import ModelBundle
from brbs.step_guard import StepGuard
from brbs.trainer import Budget

NAN = float("nan")


@pytest.fixture
def telling_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is told and looked at."""
    monkeypatch.setattr(trainer_module, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(trainer_module, "MOST_BROKEN", 2)


def break_steps(monkeypatch: pytest.MonkeyPatch, broken) -> None:
    """Losses of the steps of the process (from 1) for which ``broken`` is true are no numbers, and so gradients."""
    plain, count = Learner._atlas_losses, [0]

    def losses(self: Learner, scale: int):
        count[0] += 1
        found = plain(self, scale)
        return {name: value * NAN for name, value in found.items()} if broken(count[0]) else found

    monkeypatch.setattr(Learner, "_atlas_losses", losses)


def events(output: Path, kind: str) -> list[dict]:
    return [event for event in JobReader(output / "training").events()[0] if event["kind"] == kind]


def quick(steps: int) -> dict:
    """The segmentation network alone learns."""
    return {"budget": Budget(steps=steps), "settings": replace(SETTINGS, segmentation_share=1.0, registration_share=0)}


def test_a_broken_step_is_left_out_and_told(tmp_path: Path, monkeypatch, telling_all, caplog) -> None:
    break_steps(monkeypatch, lambda step: step == 3)
    with caplog.at_level(logging.WARNING, "brbs"):
        trained, finished = train(tmp_path, **quick(5))
    assert finished and trained.step == 5
    assert all(bool(value.isfinite().all()) for value in weights(trained).values())
    assert [(event["step"], event["count"]) for event in events(tmp_path, "broken")] == [(3, 1)]
    assert any("1 of the last steps broke" in message for message in caplog.messages)
    message = JobReader(tmp_path / "training").message
    assert message == "finished after 5 steps, 1 left out as their losses were not finite"
    third = next(event for event in events(tmp_path, "losses") if event["step"] == 3)
    assert "segmentation" not in third, "what is no number is not JSON"
    ModelBundle.load(tmp_path)


def test_after_many_broken_steps_the_last_checkpoint_returns_and_other_draws_lead_on(
    tmp_path: Path, monkeypatch, telling_all, caplog
) -> None:
    break_steps(monkeypatch, lambda step: step in (3, 4))
    draws, plain = [], trainer_module.Trainer.resume

    def resume(self) -> None:
        plain(self)
        draws.append(self.learner.generator.get_state())

    monkeypatch.setattr(trainer_module.Trainer, "resume", resume)
    with caplog.at_level(logging.WARNING, "brbs"):
        trained, finished = train(tmp_path, **quick(6))
    assert finished and trained.step == 6 and trained.restorations == 1
    assert [event["step"] for event in events(tmp_path, "losses")] == [1, 2, 3, 4, 3, 4, 5, 6]
    assert [(event["step"], event["broke_at"]) for event in events(tmp_path, "restored")] == [(2, 4)]
    assert any("going on from step 2 again" in message for message in caplog.messages)
    assert not torch.equal(trained.learner.generator.get_state(), draws[0])
    assert all(bool(value.isfinite().all()) for value in weights(trained).values())


@pytest.mark.parametrize("broken", ["losses", "weights"])
def test_a_training_that_breaks_again_and_again_ends_with_its_last_checkpoint(
    tmp_path: Path, monkeypatch, telling_all, broken: str
) -> None:
    train(tmp_path, **quick(3))
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".pt", ".safetensors")}
    if broken == "losses":
        break_steps(monkeypatch, lambda step: True)
    else:
        plain = Learner.step

        def step(self: Learner, progress: float):
            losses = plain(self, progress)
            with torch.no_grad():
                self.segmentation.out_conv.weight.fill_(NAN)
            return losses

        monkeypatch.setattr(Learner, "step", step)
    with pytest.raises(InputError, match=r"broke at step [45]: .* not finite.*--learning-rate"):
        train(tmp_path, resume=True, **quick(90))
    assert JobReader(tmp_path / "training").state == "failed"
    assert len(events(tmp_path, "restored")) == trainer_module.MOST_RESTORATIONS
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_gradient_that_is_no_number_moves_nothing(bad: float) -> None:
    network = nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters())
    guard, before = StepGuard([optimiser], torch.device("cpu")), network.weight.clone()
    network(torch.ones(1, 2)).sum().backward()
    network.weight.grad[0, 0] = bad
    optimiser.step()
    guard.count({"total": torch.tensor(1.0)})
    assert torch.equal(network.weight, before)
    assert (guard.in_a_row, guard.take_broken(), guard.take_broken()) == (1, 1, 0)
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    guard.count({"total": torch.tensor(1.0)})
    assert not torch.equal(network.weight, before) and guard.in_a_row == 0
    guard.count({"total": torch.tensor(bad)})
    assert guard.in_a_row == 1


class Waits(TorchDispatchMode):
    """Counts how often a number is fetched from a tensor, for which the processor would wait for a GPU."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(named or {}))


def test_no_step_waits_for_the_device() -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimiser = torch.optim.SGD([weight], lr=1.0)
    guard = StepGuard([optimiser], torch.device("cpu"))
    with Waits() as waits:
        optimiser.step()
        guard.count({"total": torch.tensor(1.0), "mix": torch.tensor(2.0)})
        assert waits.count == 0
        assert guard.in_a_row == 0 and waits.count == 1
