"""Killed at any moment, a training loses no more than it has done since its last checkpoint, and no file is torn.

Killed before its first checkpoint, it is started anew, and the refused ``--resume`` says so.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
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
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # as Process.kill does on Windows, too

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


def train_and_die(arguments: list[str], name: str, number: int) -> None:
    """What a child does that is killed where a file of the name (empty: any but job.json) gets it the n-th time."""
    torch.set_num_threads(1)
    replace, left = os.replace, [number]

    def replace_or_die(source: Path, target: Path) -> None:
        left[0] -= Path(target).name == name if name else Path(target).name != "job.json"
        if left[0] == 0:
            os.kill(os.getpid(), KILL)
        replace(source, target)

    os.replace = replace_or_die
    sys.exit(main(arguments))


def dies(arguments: list[str], name: str, number: int) -> bool:
    """Whether a training was killed there; else it has finished."""
    child = PROCESSES.Process(target=train_and_die, args=(arguments, name, number))
    child.start()
    child.join(120)
    killed = -KILL if sys.platform != "win32" else KILL
    assert child.exitcode in (0, killed)
    return child.exitcode == killed


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
    for kill in range(kills):
        before = saved(output)
        told = len(losses(output))
        resume = ["--resume"] if before else []
        child = start(train_arguments(study, output, *resume, steps=LONG))
        end = time.monotonic() + 60
        # Every second one only when it trains; the others also while it starts.
        while (
            child.is_alive()
            and time.monotonic() < end
            and not (len(losses(output)) > told if kill % 2 else (output / "training/last.pt").exists())
        ):
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
    assert killed_while_training >= kills // 2, "else little was tried"

    steps = after["step"] + 2
    assert run(train_arguments(study, output, "--resume", steps=steps)) == 0
    assert JobReader(output / "training").state == "finished"
    assert ModelBundle.load(output).provenance["step"] == steps == saved(output)["step"]
    assert not list(output.rglob(".partial-*"))


def started_again(study: Path, output: Path, capsys) -> list[str]:
    """The arguments with which a killed training goes on, or begins anew where it has no checkpoint, as is told."""
    plain = train_arguments(study, output, steps=STEPS)
    resumable = saved(output) is not None
    capsys.readouterr()
    assert run(plain if resumable else [*plain, "--resume"]) == 2
    told = capsys.readouterr().err
    if resumable:
        assert "--resume goes on with it" in told
        return [*plain, "--resume"]
    assert "start without --resume" in told or "train anew with --overwrite" in told
    return [*plain, "--overwrite"] if "--overwrite" in told else plain


def assert_finishes(arguments: list[str], output: Path) -> None:
    assert run(arguments) == 0
    assert JobReader(output / "training").state == "finished"
    assert ModelBundle.load(output).provenance["step"] == saved(output)["step"] == STEPS


STEPS = 6
PLACES = [("job.json", 3), ("prepared.npz", 1), ("last.pt", 1), ("model.json", 2)]


def test_killed_before_its_first_checkpoint_and_at_its_end(study: Path, tmp_path: Path, capsys, one_thread) -> None:
    """While it reads the scans, stores them, writes its first checkpoint, and writes the model in the end."""
    output, checkpoints = tmp_path / "Modell", []
    arguments = train_arguments(study, output, steps=STEPS)
    for name, number in PLACES:
        assert dies(arguments, name, number), name
        assert JobReader(output / "training").state == "failed"
        assert_whole(output)
        checkpoints.append(saved(output) is not None)
        arguments = started_again(study, output, capsys)
    assert checkpoints == [False, False, False, True]
    assert_finishes(arguments, output)


@pytest.mark.slow
def test_killed_at_each_file_that_it_writes(study: Path, tmp_path: Path, capsys, one_thread) -> None:
    for number in itertools.count(1):
        output = tmp_path / str(number)
        if not dies(train_arguments(study, output, steps=STEPS), "", number):
            break
        assert_whole(output)
        assert_finishes(started_again(study, output, capsys), output)
    assert number > 10
