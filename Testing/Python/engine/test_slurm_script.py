"""The example for Slurm: what it starts, and that it knows a training by the file that the engine knows it by."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brbs.__main__ import parser
from brbs.model_folder import CHECKPOINT_FILE, TRAINING_FOLDER

SCRIPT = Path(__file__).resolve().parents[3] / "Resources/Documentation/slurm.sh"
STAND_INS = {
    "scontrol": 'printf "%s\\n" node1 node2',
    "srun": 'exec "$@"',
    "python": 'printf "%s\\n" "$@"',
}

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="Slurm's scripts run in bash"
)


def started(model: Path, tmp_path: Path) -> list[str]:
    """The words that Python gets from the script, on two nodes of which nothing is real."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    for name, what in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{what}\n")
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    slurm = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7"}
    command = ["bash", SCRIPT, tmp_path / "a study", model]
    done = subprocess.run(command, env={**os.environ, **slurm, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_starts_a_training_that_the_engine_takes(tmp_path: Path) -> None:
    words = started(tmp_path / "a model", tmp_path)
    assert words[words.index("--nnodes") + 1] == "2" and "node1:29500" in words
    arguments = parser().parse_args(words[words.index("brbs") + 1 :])
    assert (arguments.study, arguments.output) == (str(tmp_path / "a study"), str(tmp_path / "a model"))
    assert not arguments.resume


def test_submitted_again_it_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a model" / TRAINING_FOLDER / CHECKPOINT_FILE
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    words = started(tmp_path / "a model", tmp_path)
    assert parser().parse_args(words[words.index("brbs") + 1 :]).resume


def test_it_asks_for_as_many_gpus_as_it_starts_processes(tmp_path: Path) -> None:
    words = started(tmp_path / "a model", tmp_path)
    text = SCRIPT.read_text(encoding="utf-8")
    assert f"--gpus-per-node={words[words.index('--nproc-per-node') + 1]}\n" in text
