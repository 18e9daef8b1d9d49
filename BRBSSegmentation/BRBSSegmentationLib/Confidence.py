"""What a confidence means to people."""

from __future__ import annotations

from collections.abc import Mapping

from slicer.i18n import tr as _

from BRBSTrainingLib.RowTable import BAD, GOOD, ODD

GOOD_FROM, ODD_FROM = 0.8, 0.6  # confidence from which the light is green, or yellow


def confidenceMark(confidence: float) -> str:
    """The traffic light of a confidence (0..1), by the two decimals that are shown beside it."""
    confidence = round(confidence, 2)
    return GOOD if confidence >= GOOD_FROM else ODD if confidence >= ODD_FROM else BAD


def confidenceAdvice(mark: str) -> str:
    """What to do at that light."""
    return {
        GOOD: _("The model is sure of this structure."),
        ODD: _("The model is not quite sure of this structure; have a look."),
        BAD: _("The model is unsure, or its networks contradict each other; do not use it unseen."),
    }[mark]


def weakest(confidence: Mapping[str, float]) -> tuple[str, float]:
    """The structure with the least confidence, and that confidence."""
    return min(confidence.items(), key=lambda item: item[1])
