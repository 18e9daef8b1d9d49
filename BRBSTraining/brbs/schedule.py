"""Which networks learn when, and how fast, as functions of the training's progress."""

from __future__ import annotations

import math

from .settings import Settings

COARSE, SEGMENTATION, REGISTRATION, TOGETHER = "coarse", "segmentation", "registration", "together"
PHASE_MESSAGES = {
    COARSE: "segmentation on the atlases, coarse",
    SEGMENTATION: "segmentation on the atlases",
    REGISTRATION: "registration",
    TOGETHER: "both teach each other",
}
RAMP_STEPS = 50  # first steps of a network, over which its learning rate rises


def phase(progress: float, settings: Settings) -> str:
    """The phase at a progress in 0..1: S on the atlases, coarse first, then R alone, then both teach each other."""
    if progress < settings.coarse_share * settings.segmentation_share:
        return COARSE
    if progress < settings.segmentation_share:
        return SEGMENTATION
    if progress < settings.segmentation_share + settings.registration_share:
        return REGISTRATION
    return TOGETHER


def learning_rate(progress: float, own_steps: int, settings: Settings) -> float:
    """Learning rate of a network that has made ``own_steps`` steps: a short ramp, a plateau, then a cosine descent.

    The plateau lasts as long as the phases of the single networks.
    """
    plateau = settings.segmentation_share + settings.registration_share
    descent = max(0.0, (progress - plateau) / max(1 - plateau, 1e-9))
    low, high = settings.final_learning_rate, settings.learning_rate
    rate = low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(descent, 1.0)))
    return rate * min(1.0, (own_steps + 1) / RAMP_STEPS) if high != low else rate
