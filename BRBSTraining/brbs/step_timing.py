"""How long a training step takes on a device, measured with real steps on made-up scans."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from .anisotropy import default_unet
from .data import TrainingData
from .device import free_memory, keep_freed_memory
from .learner import Learner
from .settings import Settings
from .training_memory import is_short

#: Where in the training each measured phase lies; both networks learn in every step of the last.
PROGRESS = {"coarse": 0.0, "warm-up": 0.3, "registration": 0.45, "together": 0.95}
SMALL_EDGE = 32  # voxels; a CPU is timed on these, and on a GPU they take hardly longer than none at all
GPU_EDGES = (64, 96, 128)
LAUNCHING_SECONDS = 0.1  # of a step of both networks, below which a GPU has mostly waited for the next launch

MANY_CLASSES = 22

_TIMED_STEPS = 2


def speed(device: torch.device) -> dict[str, dict[str, float]]:
    """How fast a device trains, for any number of structures.

    Returns:
        What :func:`step_seconds` gives with one structure, and "seconds_per_structure", by phase what each further one
        takes.

    Raises:
        RuntimeError: the device cannot compute a step or has too little memory.
    """
    many = seconds_per_step(device, classes=MANY_CLASSES)
    found = step_seconds(device, edge=round(many["volume"] ** (1 / 3)))
    few = found["seconds_per_step"]
    more = {name: max(0.0, many[name] - few[name]) / (MANY_CLASSES - 2) for name in PROGRESS}
    return found | {"seconds_per_structure": more}


def step_seconds(device: torch.device, edge: int | None = None, classes: int = 2) -> dict[str, dict[str, float]]:
    """What :func:`brbs.expected_time.expected_seconds` reckons with.

    Args:
        device, edge, classes: as of :func:`seconds_per_step`.

    Returns:
        "seconds_per_step", as :func:`seconds_per_step` gives it; of a GPU with room for more than the smallest volume
        also "launch_seconds", by phase what a step takes however few voxels there are.

    Raises:
        RuntimeError: the device cannot compute a step or has too little memory.
    """
    found = {"seconds_per_step": seconds_per_step(device, edge, classes)}
    if device.type != "cpu" and found["seconds_per_step"]["volume"] > SMALL_EDGE**3:
        launched = seconds_per_step(device, SMALL_EDGE)
        del launched["volume"]
        found["launch_seconds"] = launched
    return found


def seconds_per_step(device: torch.device, edge: int | None = None, classes: int = 2) -> dict[str, float]:
    """Seconds of a step in each phase, with default widths and settings.

    Args:
        device: where to compute.
        edge: voxels of the cubic volumes; none: as suits the device.
        classes: of the label maps, background included; many take longer.

    Returns:
        "volume" (voxels), "coarse" (the segmentation network alone on coarse volumes), "warm-up" (the same on whole
        ones), "registration" (the registration network alone) and "together" (a step of both networks).

    Raises:
        RuntimeError: the device cannot compute a step or has too little memory.
    """
    keep_freed_memory()
    if edge is not None:
        return _timed(device, edge, classes)
    first, *others = _edges(device, classes)
    found = _timed(device, first, classes)
    for larger in others:
        if found["together"] < LAUNCHING_SECONDS:
            found = _timed(device, larger, classes)
    return found


def _edges(device: torch.device, classes: int) -> list[int]:
    """Of the volumes to be timed, the next only if a GPU has idled with the one before."""
    if device.type == "cpu":
        return [SMALL_EDGE]
    free = free_memory(device)
    return [edge for edge in GPU_EDGES if not is_short(free, edge**3, classes)] or [SMALL_EDGE]


def _timed(device: torch.device, edge: int, classes: int) -> dict[str, float]:
    settings = replace(
        Settings(), segmentation_share=0.4, coarse_share=0.25, registration_share=0.1, registration_interval=1
    )
    learner = Learner(_made_up_data(edge, device, classes), settings, default_unet((edge, edge, edge), (1, 1, 1))[0])
    return {"volume": edge**3, **{name: _fastest(learner, progress) for name, progress in PROGRESS.items()}}


def _made_up_data(edge: int, device: torch.device, classes: int) -> TrainingData:
    generator = torch.Generator().manual_seed(0)
    scans = torch.rand((3, edge, edge, edge), generator=generator)
    labels = (classes * scans[:1]).to(torch.uint8)
    return TrainingData(scans[:1], labels, scans[1:], class_count=classes, spacing=(1, 1, 1), device=device)


def _fastest(learner: Learner, progress: float) -> float:
    """Seconds of the fastest of a few steps after one that warms the device up."""
    seconds = []
    for _ in range(1 + _TIMED_STEPS):
        start = time.perf_counter()
        losses = learner.step(progress)
        sum(losses.values()).item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
