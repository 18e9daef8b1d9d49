"""The training loop: resumed bit for bit, stopped, paused, validated, and never losing a good model."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_study import SCHEMA, SETTINGS, prepared_study
from tiny_training import at_step, train, weights

from brbs import learner as learner_module
from brbs import trainer as trainer_module
from brbs.errors import InputError
from brbs.job import JobReader
from brbs.learner import Learner
from brbs.model import ModelBundle
from brbs.settings import Settings
from brbs.trainer import Budget, Trainer
from brbs.validation import Validation


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def validations(output: Path) -> list[dict]:
    return [event for event in JobReader(output / "training").events()[0] if event["kind"] == "validation"]


@pytest.mark.parametrize(
    ("stop_at", "settings"),
    [
        (4, SETTINGS),
        (6, SETTINGS),  # with pseudo labels made before the stop and used after it
        (4, replace(SETTINGS, averaging=0.0, segmentation_share=0.0, registration_share=0.0)),
    ],
)
def test_resumed_training_is_the_same_bit_for_bit(tmp_path: Path, monkeypatch, stop_at: int, settings: Settings):
    monkeypatch.setattr(learner_module, "REFRESH_SHARE", 0.2)
    whole, finished = train(tmp_path / "whole", Budget(steps=8), settings=settings)
    assert finished and whole.step == 8
    with monkeypatch.context() as patch:
        at_step(patch, stop_at, lambda: signal.raise_signal(signal.SIGINT))
        part, finished = train(tmp_path / "parts", Budget(steps=8), settings=settings)
    assert not finished and part.interrupted and part.step == stop_at
    rest, finished = train(tmp_path / "parts", Budget(steps=8), resume=True, settings=settings)
    assert finished and rest.step == 8 and not rest.interrupted
    assert_same(weights(whole), weights(rest))
    assert torch.equal(whole.learner.data.scan_labels, rest.learner.data.scan_labels)
    assert not torch.equal(*(weights(t)["registration.out_conv.weight"] for t in (part, rest)))


def test_validation_does_not_disturb_the_training(tmp_path: Path, monkeypatch) -> None:
    often, _ = train(tmp_path / "often", Budget(steps=5))
    monkeypatch.setattr(Trainer, "_validation_due", lambda self: False)
    once, _ = train(tmp_path / "once", Budget(steps=5))
    assert (len(validations(tmp_path / "often")), len(validations(tmp_path / "once"))) == (5, 1)
    assert_same(weights(often), weights(once))


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    one, _ = train(tmp_path / "one", Budget(steps=1))
    other, _ = train(tmp_path / "other", Budget(steps=1), settings=replace(SETTINGS, seed=1))
    assert not torch.equal(*(weights(t)["segmentation.out_conv.weight"] for t in (one, other)))


def test_all_phases_are_told_and_the_model_is_there(tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, Budget(steps=6))
    reader = JobReader(tmp_path / "training")
    assert (reader.state, reader.progress, reader.message) == ("finished", 1.0, "finished after 6 steps")
    losses = [event for event in reader.events()[0] if event["kind"] == "losses"]
    assert losses[0]["step"] == 1 and losses[0]["phase"] == "segmentation"  # at once, so that a watcher sees life
    assert losses[-1]["step"] == 6
    assert {"segmentation_total", "registration_total", "mix", "teaching"} <= set().union(*losses)
    bundle = ModelBundle.load(tmp_path)
    for name, value in trainer.learner.teacher.state_dict().items():
        assert torch.equal(bundle.segmentation[name], value)  # the running average is what predicts
    assert bundle.provenance["atlases"] == ["atlas 0", "atlas 1"] and bundle.provenance["step"] == 6
    assert bundle.provenance["validation"] == "bent atlases"
    assert set(bundle.provenance["dice"]) == {"mean", "Hülle", "Kern"}


def test_a_training_stopped_on_coarse_volumes_says_what_its_model_is_worth(tmp_path: Path, monkeypatch) -> None:
    reader = JobReader(tmp_path / "training")
    at_step(monkeypatch, 2, reader.request_stop)
    train(tmp_path, Budget(steps=100), settings=replace(SETTINGS, coarse_share=1.0))
    assert reader.message.startswith("stopped after 2 steps; the model has only seen coarse volumes")


def test_training_learns(tmp_path: Path) -> None:
    alone = replace(SETTINGS, segmentation_share=1.0, registration_share=0.0, coarse_share=0.0)
    settings = replace(alone, averaging=0.5, learning_rate=5e-3)
    train(tmp_path, Budget(steps=120), settings=settings, validation=2)
    dice = [event["dice"]["mean"] for event in validations(tmp_path)]
    assert dice[-1] > 0.5 and dice[-1] > dice[0] + 0.2


def test_stop_request_ends_with_a_model_and_can_be_resumed_with_a_larger_budget(tmp_path: Path, monkeypatch) -> None:
    reader = JobReader(tmp_path / "training")
    with monkeypatch.context() as patch:
        at_step(patch, 3, reader.request_stop)
        trainer, finished = train(tmp_path, Budget(steps=4))
    assert (finished, trainer.interrupted, trainer.step) == (False, False, 3)
    assert (reader.state, reader.progress, reader.message) == ("finished", 0.75, "stopped after 3 steps")
    assert ModelBundle.load(tmp_path).provenance["step"] == 3
    trainer, finished = train(tmp_path, Budget(steps=12), resume=True)
    assert finished and trainer.step == 12 and reader.state == "finished" and reader.progress == 1
    assert ModelBundle.load(tmp_path).provenance["step"] == 12


def test_pseudo_labels_are_renewed_when_a_larger_budget_turns_progress_back(tmp_path: Path, monkeypatch) -> None:
    settings = replace(SETTINGS, segmentation_share=0.0, registration_share=0.0)
    train(tmp_path, Budget(steps=2), settings=settings)
    ages, plain = [], Learner._renew_labels

    def renew(self, scans, progress):
        plain(self, scans, progress)
        ages.extend((progress - self.labelled_at[list(scans)]).tolist())

    monkeypatch.setattr(Learner, "_renew_labels", renew)
    train(tmp_path, Budget(steps=8), resume=True, settings=settings)
    assert len(ages) >= 6 and set(ages) == {0}  # a step is an eighth of the training, longer than labels last


def test_pause_rests_off_the_clock(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trainer_module, "PAUSE_SECONDS", 0.05)
    reader, seen = JobReader(tmp_path / "training"), []

    def watch() -> None:
        deadline = time.monotonic() + 30
        while reader.state != "paused" and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(2)
        seen.append(reader.state)
        reader.resume()

    at_step(monkeypatch, 2, reader.request_pause)
    watcher = threading.Thread(target=watch)
    watcher.start()
    trainer, finished = train(tmp_path, Budget(steps=4))
    watcher.join()
    assert seen == ["paused"] and finished and trainer.step == 4 and reader.state == "finished"
    told = {event["step"]: event for event in validations(tmp_path)}
    wall, counted = (told[4][clock] - told[2][clock] for clock in ("time", "seconds"))
    assert 0 < counted < wall - 1.4


def test_a_paused_training_can_be_stopped(tmp_path: Path, monkeypatch) -> None:
    reader = JobReader(tmp_path / "training")
    at_step(monkeypatch, 2, lambda: (reader.request_pause(), reader.request_stop()) and None)
    trainer, finished = train(tmp_path, Budget(steps=9))
    assert not finished and trainer.step == 2 and reader.state == "finished"


def test_minutes_are_kept_also_over_a_stop(tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 2, JobReader(tmp_path / "training").request_stop)
        first, _ = train(tmp_path, Budget(minutes=0.02))
    second, finished = train(tmp_path, Budget(minutes=0.02), resume=True)
    assert finished and second.step > first.step and 0.02 * 60 <= second.seconds < 0.02 * 60 + 2


@pytest.mark.parametrize(
    ("budget", "seconds", "step", "share"),
    [
        (Budget(minutes=2), 30, 999, 0.25),
        (Budget(steps=40), 1e6, 10, 0.25),
        (Budget(minutes=2, steps=40), 30, 30, 0.75),
        (Budget(minutes=2, steps=40), 60, 10, 0.5),
        (Budget(minutes=2, steps=40), 300, 10, 1.0),
    ],
)
def test_the_part_of_the_budget_used_up_first_counts(budget: Budget, seconds: float, step: int, share: float) -> None:
    assert budget.progress(seconds, step) == share


def test_time_ends_a_training_whose_steps_are_not_used_up(tmp_path: Path) -> None:
    trainer, finished = train(tmp_path, Budget(minutes=0.01, steps=100_000))
    assert finished and 0 < trainer.step < 100_000 and trainer.seconds >= 0.6
    trainer, finished = train(tmp_path / "steps", Budget(minutes=60, steps=2))
    assert finished and trainer.step == 2


def test_a_structure_that_nothing_shows_is_not_counted_as_found() -> None:
    reference = np.zeros((2, 4, 4, 4), np.uint8)
    reference[0, :2] = 1
    predicted = reference.copy()
    predicted[0, 1] = 0
    validation = Validation(torch.zeros(2, 1, 4, 4, 4), reference, real=True)
    assert validation.dice(predicted, SCHEMA) == pytest.approx({"mean": 2 / 3, "Hülle": 2 / 3})
    predicted[1, 3] = 2
    assert validation.dice(predicted, SCHEMA) == pytest.approx({"mean": 1 / 3, "Hülle": 2 / 3, "Kern": 0.0})
    assert validation.dice(np.zeros_like(reference), SCHEMA)["mean"] == 0.0


def test_real_validation_chooses_the_best_weights(tmp_path: Path, monkeypatch) -> None:
    """The network is best after step 2: later ones are made to predict nothing."""
    plain = Learner.predict

    def predict(self: Learner, images: torch.Tensor) -> torch.Tensor:
        found = plain(self, images)
        right = torch.as_tensor(prepared_study(validation=2).validation_labels)
        return right if self.own_steps["segmentation"] == 2 and len(images) == 2 else torch.zeros_like(found)

    monkeypatch.setattr(Learner, "predict", predict)
    settings = replace(SETTINGS, segmentation_share=1.0, registration_share=0.0)
    trainer, _ = train(tmp_path, Budget(steps=5), settings=settings, validation=2)
    bundle = ModelBundle.load(tmp_path)
    assert bundle.provenance["validation"] == "annotated scans" and bundle.provenance["best_step"] == 2
    assert bundle.provenance["dice"]["mean"] == trainer.metrics["mean"] == 1.0
    best = torch.load(tmp_path / "training/best.pt", weights_only=True)["segmentation"]
    last = trainer.learner.teacher.state_dict()
    assert all(torch.equal(bundle.segmentation[name], best[name]) for name in best)
    assert any(not torch.equal(last[name], best[name]) for name in best)


def test_bent_atlases_validate_the_last_weights(tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, Budget(steps=2))
    volumes = trainer.validation
    assert not volumes.real and volumes.images.shape == (4, 1, 16, 20, 16)
    assert set(np.unique(volumes.labels)) == {0, 1, 2}
    assert not torch.equal(volumes.images[0], trainer.learner.data.atlas_images[0])


@pytest.mark.parametrize("damage", ["missing", "other widths"])
def test_a_checkpoint_that_cannot_be_taken_up_is_named(tmp_path: Path, damage: str) -> None:
    train(tmp_path, Budget(steps=1))
    path, settings = tmp_path / "training/last.pt", SETTINGS
    if damage == "missing":
        path.unlink()
    else:
        settings = replace(SETTINGS, channels=(8, 16, 8))
    with pytest.raises(InputError, match=r"last\.pt: .*--overwrite"):
        train(tmp_path, Budget(steps=2), resume=True, settings=settings)
