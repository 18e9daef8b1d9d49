"""The course of a training in Slicer's plot view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from .CurveChart import CurveChart

NO_LOSSES = {"time", "kind", "step", "seconds", "phase"}  # what a "losses" event holds besides the losses


class TrainingPlots:
    """Two charts of the scene, losses and validation Dice over the steps of a training, from the job's events."""

    def __init__(self) -> None:
        self._losses = CurveChart("losses", _("BRBS losses"), _("Loss"))
        self._dice = CurveChart("dice", _("BRBS validation Dice"), _("Dice"), yRange=(0.0, 1.0), markers=True)

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Adds what the events tell; events of other kinds are passed over."""
        losses = [event for event in events if event.get("kind") == "losses" and "step" in event]
        rows = [{name: value for name, value in event.items() if name not in NO_LOSSES} for event in losses]
        self._losses.add([event["step"] for event in losses], rows)
        dice = [event for event in events if event.get("kind") == "validation" and "step" in event]
        self._dice.add([event["step"] for event in dice], [event.get("dice", {}) for event in dice])

    def clear(self) -> None:
        """Empties the curves, for another training; charts that are shown stay."""
        self._losses.clear()
        self._dice.clear()

    def showLosses(self) -> None:
        """Shows the losses in a layout with a plot view."""
        self._show(self._losses)

    def showDice(self) -> None:
        """Shows the validation Dice in a layout with a plot view."""
        self._show(self._dice)

    @staticmethod
    def _show(chart: CurveChart) -> None:
        slicer.modules.plots.logic().ShowChartInLayout(chart.update())

    def remove(self) -> None:
        """Empties the curves and removes their nodes from the scene."""
        self._losses.remove()
        self._dice.remove()
