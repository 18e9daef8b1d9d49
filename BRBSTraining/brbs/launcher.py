"""What PyTorch's launcher ``torchrun`` tells the processes it starts; without PyTorch, which may be missing."""

from __future__ import annotations

import os


def rank() -> int:
    """Number of this process among all of its run, 0 for the first; 0 without a launcher."""
    return _number("RANK", 0)


def world() -> int:
    """How many processes the run has, on all machines; 1 without a launcher."""
    return _number("WORLD_SIZE", 1)


def local_rank() -> int:
    """Number of this process on its machine."""
    return _number("LOCAL_RANK", 0)


def local_world() -> int:
    """How many processes of the run there are on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def restarts() -> int:
    """How often the launcher has started this run again."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def run_name() -> str | None:
    """What the launcher calls this run, however often it starts it; None without a launcher, or if it has no name."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if name == "none" else name  # as torchrun calls all runs without --rdzv-id


def _number(variable: str, otherwise: int) -> int:
    return int(os.environ.get(variable, otherwise))
