"""The report's figure: a box per structure, and the median and the worst case in three planes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke

from .label_schema import LabelSchema

WIDTH = 10.0  # inches
CASE_HEIGHT = 3.4
PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # plane -> axis of the (D, H, W) array across it

Overlay = tuple[sitk.Image, sitk.Image, sitk.Image | None]


def draw_report(rows: Sequence[Mapping[str, Any]], schema: LabelSchema, overlays: Mapping[str, Overlay]) -> Figure:
    """Draws the figure.

    Args:
        rows: one per case and structure, with ``value``, ``dice`` and ``hd95_mm``.
        schema: the structures, top to bottom.
        overlays: title -> (prediction, reference, scan or None), the label maps on one grid.

    Returns:
        A figure that no window shows; it can be saved from any thread.
    """
    boxes_height = 1.3 + 0.36 * len(schema.labels)
    heights = [boxes_height, *([CASE_HEIGHT] * len(overlays))]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_boxes(parts[0], rows, schema)
    for part, (title, overlay) in zip(parts[1:], overlays.items(), strict=True):
        _draw_case(part, title, overlay, schema)
    return figure


def _draw_boxes(part: SubFigure, rows: Sequence[Mapping[str, Any]], schema: LabelSchema) -> None:
    left, right = part.subplots(1, 2, sharey=True)
    without = sum(math.isnan(row["hd95_mm"]) for row in rows)
    for axis, measure, title in ((left, "dice", "Dice overlap"), (right, "hd95_mm", "95 % Hausdorff distance (mm)")):
        values = [
            [row[measure] for row in rows if row["value"] == value and math.isfinite(row[measure])]
            for value in schema.values
        ]
        _draw_measure(axis, values, [label.colour for label in schema.labels])
        axis.set_title(title, fontsize=10)
    if without:
        right.set_xlabel(f"not shown: {without} missed or invented", fontsize=9)
    left.set_xlim(-0.02, 1.02)
    right.set_xlim(left=-0.02 * right.get_xlim()[1])
    left.set_yticks(range(len(schema.labels)), [_plain(label.name, 28) for label in schema.labels])
    left.set_ylim(len(schema.labels) - 0.4, -0.6)


def _plain(text: str, longest: int) -> str:
    """Text that fits, and in which matplotlib finds no mathematics."""
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("$", r"\$")


def _draw_measure(axis: Axes, values: Sequence[Sequence[float]], colours: Sequence[tuple[float, float, float]]) -> None:
    """A horizontal box and a dot a case for each structure."""
    places = range(len(values))
    boxes = axis.boxplot(
        values,
        positions=places,
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        patch_artist=True,
        medianprops={"color": "black", "linewidth": 1.5},
    )
    for box, colour in zip(boxes["boxes"], colours, strict=True):
        box.set(facecolor=(*colour, 0.55), edgecolor="0.25")
    for place, cases in zip(places, values, strict=True):
        offsets = 0.22 * np.sin(np.arange(len(cases)) * 2.4)  # spreads the dots the same way each time
        axis.scatter(cases, place + offsets, s=7, color="0.2", alpha=0.6, linewidths=0, zorder=3)
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def _draw_case(part: SubFigure, title: str, overlay: Overlay, schema: LabelSchema) -> None:
    part.suptitle(f"{_plain(title, 80)}   (filled: prediction, line: reference)", fontsize=10)
    upright = [None if image is None else sitk.DICOMOrient(image, "LPS") for image in overlay]
    arrays = [None if image is None else sitk.GetArrayFromImage(image) for image in upright]
    spacing = upright[0].GetSpacing()[::-1]
    labelled = (arrays[0] != 0) | (arrays[1] != 0)
    for axis, (plane, across) in zip(part.subplots(1, 3), PLANES.items(), strict=True):
        others = tuple(k for k in range(3) if k != across)
        at = int(np.argmax(labelled.sum(axis=others)))
        cuts = [None if array is None else array.take(at, axis=across) for array in arrays]
        _draw_plane(axis, cuts, spacing[others[0]] / spacing[others[1]], upside_down=plane != "axial", schema=schema)
        axis.set_xlabel(plane, fontsize=9)


def _draw_plane(axis: Axes, cuts: list, aspect: float, upside_down: bool, schema: LabelSchema) -> None:
    """One slice: the scan in grey (black without one), predictions filled, references as lines."""
    prediction, reference, scan = cuts
    look = {"origin": "lower" if upside_down else "upper", "aspect": aspect, "interpolation": "nearest"}
    if scan is None:
        axis.imshow(np.zeros_like(reference, dtype=np.uint8), cmap="gray", vmin=0, vmax=1, **look)
    else:
        low, high = np.percentile(scan, (0.5, 99.5))
        axis.imshow(scan, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **look)
    limits = {"xlim": axis.get_xlim(), "ylim": axis.get_ylim()}
    filled = np.zeros((*prediction.shape, 4))
    for label in schema.labels:
        filled[prediction == label.value] = (*label.colour, 0.45)
    axis.imshow(filled, **look)
    for label in schema.labels:
        if (reference == label.value).any() and min(reference.shape) > 1:
            # A rim of background closes the outlines of structures that are cut off by the edge of the scan.
            rows, columns = (np.arange(-1, n + 1) for n in reference.shape)
            mask = np.pad(reference == label.value, 1)
            line = axis.contour(columns, rows, mask, levels=[0.5], colors=[label.colour], linewidths=1.4)
            line.set_path_effects([withStroke(linewidth=2.6, foreground="black")])
    axis.set(**limits)
    axis.set_xticks([])
    axis.set_yticks([])
