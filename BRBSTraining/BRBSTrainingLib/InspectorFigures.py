"""How well a registration does, in words and rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from .RowTable import GOOD, ODD, Row

MUCH_FOLDED = 0.01  # share of voxels


def headers() -> list[str]:
    """Titles of the table's columns."""
    return [_("Structure"), _("Folded"), _("Dice")]


def summary(figures: Mapping[str, Any]) -> str:
    """The measures of the whole deformation, and what was done to the scans."""
    similarity = _("Similarity of atlas and target (LNCC): {before:.3f}, after registration {after:.3f}.")
    folded = _("Folded voxels (Jacobian determinant ≤ 0): {share}.")
    sentences = [
        similarity.format(**figures["lncc"]),
        folded.format(share=percent(figures["folded_fraction"]["whole"]["all"])),
        *(f"• {note}" for note in figures.get("notes", [])),
    ]
    return "\n".join(sentences)


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """A row a structure: folded share, Dice before and after where the target has a label map."""
    dice = figures.get("dice", {"before": {}, "after": {}})
    return [
        _row(name, folded, dice["before"].get(name), dice["after"].get(name))
        for name, folded in figures["folded_fraction"]["whole"]["structures"].items()
    ]


def percent(share: float | None) -> str:
    """A share in percent; a dash where it is not known."""
    return "–" if share is None else f"{100 * share:.2f} %"


def _row(name: str, folded: float | None, before: float | None, after: float | None) -> Row:
    odd = folded is not None and folded > MUCH_FOLDED
    told = _("{share} of the structure's voxels are folded by the whole deformation.")
    unknown = _("Nothing is left of the structure after the whole deformation.")
    toolTip = unknown if folded is None else told.format(share=percent(folded))
    dice = "–" if after is None else f"{before:.2f} → {after:.2f}"
    return Row(name, (name, percent(folded), dice), ODD if odd else GOOD, toolTip)
