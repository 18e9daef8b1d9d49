"""Training on all GPUs of a computer at once: whether it can be offered, and how it is started."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .Engine import NAMELESS

ALL_GPUS = "cuda:all"  # beside the engine's names of devices
LAUNCHER = ["-m", "brbs.torchrun", "--standalone", "--nproc-per-node", "gpu"]
CONNECTABLE = os.name != "nt"  # PyTorch for Windows has no NCCL


def gpusTogether(devices: Sequence[dict]) -> int:
    """How many GPUs could train together, 0 if they cannot.

    All have to work, as the launcher starts a process on each.

    Args:
        devices: as :mod:`brbs.device_report` tells of them.
    """
    gpus = [device for device in devices if device["name"].startswith("cuda:")]
    broken = any(device.get("error") for device in gpus)
    return len(gpus) if CONNECTABLE and len(gpus) > 1 and not broken else 0


def trainCommand(options: Sequence[str], device: str) -> list[str]:
    """What follows ``python`` to train on a device or on all GPUs.

    Args:
        options: of the engine's command ``train``.
        device: as the engine names devices, or :data:`ALL_GPUS`.
    """
    command = [*NAMELESS, "train", *options, "--device", oneDevice(device)]
    return [*LAUNCHER, *command] if device == ALL_GPUS else command


def oneDevice(device: str) -> str:
    """The device as the engine's processes name it, for work that one of them does."""
    return "cuda" if device == ALL_GPUS else device
