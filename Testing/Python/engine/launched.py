"""Programs started in two processes by PyTorch's launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ENGINE = Path(__file__).parent
PATHS = os.pathsep.join([str(ENGINE), str(ENGINE.parents[2] / "BRBSTraining")])

needs_processes = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this PyTorch cannot connect processes",
)


def launch(*arguments: str | Path, restarts: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python program in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "--max-restarts", str(restarts), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=120,
    )
