"""Killed at any moment, a training loses no more than it has done since its last checkpoint, and no file is torn."""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_study import run, train_arguments

from brbs import trainer
from brbs.__main__ import main
from brbs.job import JobReader
from brbs.model import ModelBundle

INTERVAL = 0.2  # seconds between two checkpoints
LONG = 1_000_000  # steps: more than any child lives for
ROUNDING = 0.01  # of the seconds that events tell

# Children of a server that has imported what takes long start at once.
PROCESSES = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
if sys.platform != "win32":
    PROCESSES.set_forkserver_preload(["torch._dynamo", "safetensors.torch", "SimpleITK", "matplotlib.pyplot"])


def train_telling_all(arguments: list[str]) -> None:
    """What a child does: each step is told, and many checkpoints are written."""
    torch.set_num_threads(1)
    trainer.CHECKPOINT_SECONDS, trainer.REPORT_SECONDS = INTERVAL, 0.0
    sys.exit(main(arguments))


def start(arguments: list[str]) -> multiprocessing.Process:
    child = PROCESSES.Process(target=train_telling_all, args=(arguments,))
    child.start()
    return child


def losses(output: Path) -> list[dict]:
    events = JobReader(output / "training").events()[0]
    return [event for event in events if event["kind"] == "losses"]


def saved(output: Path) -> dict | None:
    """The progress of the checkpoint, which is whole if it is there."""
    path = output / "training/last.pt"
    return torch.load(path, weights_only=True)["progress"] if path.exists() else None


def assert_whole(output: Path) -> None:
    """Every file that bears its name can be read; only the last event may be half-written."""
    for path in output.rglob("*"):
        if path.name.startswith(".partial-"):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.name == "events.jsonl":
            for line in path.read_bytes().splitlines()[:-1]:
                json.loads(line)
    if (output / "model.json").exists():
        ModelBundle.load(output)


def assert_little_lost(told: list[dict], progress: dict) -> None:
    """What a killed training has told after its last checkpoint lies within an interval.

    Not the very last: a checkpoint may have been on its way.
    """
    lost = told[1 + max((index for index, event in enumerate(told) if event["step"] == progress["step"]), default=-1) :]
    assert all(event["seconds"] - progress["seconds"] < INTERVAL + ROUNDING for event in lost[:-1])


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_but_the_last_moments_is_lost(study: Path, tmp_path: Path, kills: int) -> None:
    draw, output, killed_while_training = random.Random(5), tmp_path / "Modell", 0
    for _ in range(kills):
        before = saved(output)
        told = len(losses(output))
        resume = ["--resume"] if before else []
        child = start(train_arguments(study, output, *resume, steps=LONG))
        end = time.monotonic() + 60
        while not (output / "training/last.pt").exists() and child.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1.0))
        assert child.is_alive(), "it must not end by itself"
        child.kill()
        child.join()

        assert JobReader(output / "training").state == "failed"
        assert_whole(output)
        after = saved(output)
        if new := losses(output)[told:]:
            killed_while_training += 1
            assert_little_lost(new, after)
            assert new[0]["step"] == (before["step"] + 1 if before else 1)
    assert killed_while_training, "else nothing was tried"

    steps = after["step"] + 2
    assert run(train_arguments(study, output, "--resume", steps=steps)) == 0
    assert JobReader(output / "training").state == "finished"
    assert ModelBundle.load(output).provenance["step"] == steps == saved(output)["step"]
    assert not list(output.rglob(".partial-*"))
