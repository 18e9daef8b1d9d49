"""Structures of which nothing was found: without a segmentation there is none to be confident in."""

from __future__ import annotations

from collections.abc import Mapping


def told_confidence(
    volumes: Mapping[str, float], confidence: Mapping[str, float | None], whole: bool = True
) -> dict[str, float | None]:
    """Confidences by structure as they are told: None where nothing was found and nothing expected.

    A structure that was expected and not found has a confidence of 0, see :func:`brbs.confidence.expected_dice`, and so
    has one that was found only where the model has never looked in training, beyond its working grid.

    Args:
        volumes: what was found, by structure.
        confidence: 0..1 by structure; None where nothing was found or expected on the working grid.
        whole: whether the model looks at whole scans; else what it does not find may lie elsewhere, and has 0.
    """
    told: dict[str, float | None] = {}
    for name, volume in volumes.items():
        if volume == 0 and confidence.get(name) != 0:
            told[name] = None if whole else 0.0
        elif name in confidence:
            told[name] = confidence[name] or 0.0
    return told


def mean_confidence(confidence: Mapping[str, float | None]) -> float | None:
    """Mean over the structures that were found or expected; None where none was."""
    known = [value for value in confidence.values() if value is not None]
    return sum(known) / len(known) if known else None
