"""Programs started in two processes by PyTorch's launcher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from children import environment

needs_processes = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this PyTorch cannot connect processes",
)


def launch(*arguments: str | Path, restarts: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python program in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "--max-restarts", str(restarts), *map(str, arguments)],
        env=environment(Path(__file__).parent, **{"OMP_NUM_THREADS": "1", **variables}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=120,
    )
