"""The comparison as a figure: a box of the cases' Dice for each method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from comparison import Row
from matplotlib.figure import Figure
from methods import METHODS

OURS, THEIRS = "#3b78c4", "#b8b8b8"


def draw(rows: Sequence[Row]) -> Figure:
    """A panel for each number of atlases, methods from top to bottom, the default last."""
    counts = sorted({row.atlases for row in rows}, reverse=True)
    groups = [[row for row in rows if row.atlases == count] for count in counts]
    heights = [len(group) for group in groups]
    figure = Figure(figsize=(8.5, 1.0 * len(groups) + 0.38 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(groups), 1, height_ratios=heights, sharex=True, squeeze=False)[:, 0]
    for axis, group, count in zip(axes, groups, counts, strict=True):
        drawn = axis.boxplot([row.cases for row in group], orientation="horizontal", patch_artist=True, widths=0.6)
        for box, row in zip(drawn["boxes"], group, strict=True):
            box.set_facecolor(THEIRS if METHODS[row.method].baseline else OURS)
        axis.plot([row.cases.mean() for row in group], np.arange(len(group)) + 1, "kD", markersize=4)
        axis.set_yticks(np.arange(len(group)) + 1, [METHODS[row.method].title for row in group])
        axis.invert_yaxis()
        axis.set_title(f"{count} atlas{'es' if count > 1 else ''}", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[-1].set_xlabel("mean Dice of each case (diamond: mean of all; grey: baselines)")
    return figure
