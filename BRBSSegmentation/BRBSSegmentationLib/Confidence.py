"""What a confidence means to people."""

from __future__ import annotations

from collections.abc import Mapping

from slicer.i18n import tr as _

from BRBSTrainingLib.RowTable import BAD, GOOD, NEUTRAL, ODD

GOOD_FROM, ODD_FROM = 0.8, 0.6  # confidence from which the light is green, or yellow


def confidenceMark(confidence: float | None) -> str:
    """The traffic light of a confidence (0..1), by the two decimals that are shown beside it.

    Of what was not found and not expected (None) there is nothing to be sure of: it has none of the three.
    """
    if confidence is None:
        return NEUTRAL
    confidence = round(confidence, 2)
    return GOOD if confidence >= GOOD_FROM else ODD if confidence >= ODD_FROM else BAD


def confidenceText(confidence: float | None) -> str:
    """A confidence (0..1) in two decimals; of what was not found and not expected (None), that it was not found."""
    return _("not found") if confidence is None else f"{confidence:.2f}"


def confidenceAdvice(mark: str) -> str:
    """What to do at that light."""
    return {
        GOOD: _("The model is sure of this structure."),
        ODD: _("The model is not quite sure of this structure; have a look."),
        BAD: _("The model is unsure, or its networks contradict each other; do not use it unseen."),
        NEUTRAL: _("Nothing was found, and the model expects nothing; look whether there is nothing."),
    }[mark]


def weakest(confidence: Mapping[str, float | None]) -> tuple[str, float | None]:
    """The structure with the least confidence, and that confidence; "" and None where nothing was found or expected."""
    known = [(value, name) for name, value in confidence.items() if value is not None]
    value, name = min(known, default=(None, ""), key=lambda pair: pair[0])
    return name, value


def weakestText(confidence: Mapping[str, float | None]) -> str:
    """The least confidence, and of which structure it is."""
    name, value = weakest(confidence)
    return f"{confidenceText(value)} {name}".strip()


def absentText(confidence: Mapping[str, float | None]) -> str:
    """Which of a scan's structures were not found and not expected, as a sentence; empty where all were."""
    names = [name for name, value in confidence.items() if value is None]
    return _("Not found: {names}.").format(names=", ".join(names)) if names else ""
