"""How long a training step takes on a device, measured with real steps on made-up scans."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from .anisotropy import default_unet
from .data import TrainingData
from .device import keep_freed_memory, voxel_budget
from .learner import Learner
from .settings import Settings

#: Where in the training each measured phase lies; both networks learn in every step of the last.
PROGRESS = {"coarse": 0.0, "warm-up": 0.3, "registration": 0.45, "together": 0.95}
CPU_EDGE, GPU_EDGE = 32, 64  # voxels; smaller volumes leave a GPU idle and would make it look slow on larger ones

MANY_CLASSES = 22

_TIMED_STEPS = 2


def speed(device: torch.device) -> dict[str, dict[str, float]]:
    """How fast a device trains, for any number of structures.

    Returns:
        "seconds_per_step", of :func:`seconds_per_step` with one structure, and "seconds_per_structure", by phase what
        each further one takes.

    Raises:
        RuntimeError: the device cannot compute a step or has too little memory.
    """
    many = seconds_per_step(device, classes=MANY_CLASSES)
    few = seconds_per_step(device, edge=round(many["volume"] ** (1 / 3)))
    more = {name: max(0.0, many[name] - few[name]) / (MANY_CLASSES - 2) for name in PROGRESS}
    return {"seconds_per_step": few, "seconds_per_structure": more}


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
    if edge is None:
        edge = GPU_EDGE if device.type != "cpu" and voxel_budget(device, classes) >= GPU_EDGE**3 else CPU_EDGE
    keep_freed_memory()
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
