"""Which networks learn when, and how fast, as functions of the training's progress and of the steps made."""

from __future__ import annotations

import math

from .settings import ALONE_STEPS, COARSE_STEPS, LATEST_TOGETHER, REGISTRATION_STEPS, Settings

COARSE, SEGMENTATION, REGISTRATION, TOGETHER = "coarse", "segmentation", "registration", "together"
PHASE_MESSAGES = {
    COARSE: "segmentation on the atlases, coarse",
    SEGMENTATION: "segmentation on the atlases",
    REGISTRATION: "registration",
    TOGETHER: "both teach each other",
}
RAMP_STEPS = 50  # first steps of a network, over which its learning rate rises
PLATEAU = 0.5  # of the training, after which learning rates fall


def phase(progress: float, atlas_steps: int, registration_steps: int, settings: Settings) -> str:
    """The phase of the next step: S on the atlases, coarse first, then R alone, then both teach each other.

    Where S has made few steps when R is done, as in a short training on a slow computer, it goes back to the atlases:
    a step there takes a third to half of the time and, so early, brings about as much. In a long training both phases
    end before their share is used up, as they have no more to give.

    Args:
        progress: of the training, 0..1.
        atlas_steps: that S has made so far.
        registration_steps: that R has made so far.
        settings: shares of the phases.
    """
    if progress < settings.coarse_share * settings.segmentation_share and atlas_steps < COARSE_STEPS:
        return COARSE
    if progress < settings.segmentation_share and atlas_steps < _most_alone(settings):
        return SEGMENTATION
    both = settings.segmentation_share + settings.registration_share
    if progress < both and registration_steps < _most_registration(settings):
        return REGISTRATION
    return SEGMENTATION if atlas_steps < settings.atlas_steps and progress < LATEST_TOGETHER else TOGETHER


def _most_alone(settings: Settings) -> float:
    """Steps of S alone at most; without end where no phase is to follow."""
    return ALONE_STEPS if settings.segmentation_share < 1 else math.inf


def _most_registration(settings: Settings) -> int:
    """Steps of R alone at most: none where it has no share, also in the time that a long training leaves to it."""
    return REGISTRATION_STEPS if settings.registration_share > 0 else 0


def phase_shares(steps: int, settings: Settings) -> list[tuple[str, float]]:
    """The phases in order, each with its share 0..1 of a training of so many steps."""
    coarse = min(settings.coarse_share * settings.segmentation_share, COARSE_STEPS / steps)
    alone = min(settings.segmentation_share, _most_alone(settings) / steps)
    both = settings.segmentation_share + settings.registration_share
    registration = min(both - alone, _most_registration(settings) / steps)
    again = max(0.0, min(settings.atlas_steps / steps - alone, LATEST_TOGETHER - alone - registration))
    return [
        (COARSE, coarse),
        (SEGMENTATION, alone - coarse),
        (REGISTRATION, registration),
        (SEGMENTATION, again),
        (TOGETHER, 1 - alone - registration - again),
    ]


def learning_rate(progress: float, own_steps: int, settings: Settings) -> float:
    """Learning rate of a network that has made ``own_steps`` steps: a short ramp, a plateau, then a cosine descent."""
    descent = max(0.0, (progress - PLATEAU) / (1 - PLATEAU))
    low, high = settings.final_learning_rate, settings.learning_rate
    rate = low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(descent, 1.0)))
    return rate * min(1.0, (own_steps + 1) / RAMP_STEPS) if high != low else rate
