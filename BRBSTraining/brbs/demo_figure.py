"""The demonstration's figure: test scans with found and true outlines, and Dice beside registration alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .files import replacing
from .image_files import list_images
from .label_schema import LabelSchema
from .volumes import read_image, read_label_map

SCANS_SHOWN = 3


def draw_demo(output: Path, tests: Path, schema: LabelSchema, results: dict[str, tuple[float, float]]) -> Path:
    """Writes ``demo.png``.

    Args:
        output: the demonstration's folder, with ``segmentations``.
        tests: folder of ``images`` and ``labels`` of the test scans.
        schema: the structures.
        results: mean Dice by structure: (registration alone, trained network).
    """
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, SCANS_SHOWN + 1, width_ratios=[1] * SCANS_SHOWN + [1.5])
    for axis, path in zip(axes[:SCANS_SHOWN], list_images(tests / "images")):
        _draw_scan(axis, path, output / "segmentations" / path.name, tests / "labels" / path.name, schema)
    axes[0].set_ylabel("filled: found    line: true", fontsize=9)
    _draw_bars(axes[-1], results)
    figure.suptitle("BRBS: three annotated and thirty unannotated scans, three minutes of training", fontsize=12)
    target = output / "demo.png"
    with replacing(target) as aside:
        figure.savefig(aside, dpi=110)
    return target


def _draw_scan(axis: Axes, image: Path, found: Path, true: Path, schema: LabelSchema) -> None:
    found_labels, true_labels = (
        sitk.GetArrayFromImage(read_label_map(path, allow_empty=True)) for path in (found, true)
    )
    middle = int(np.argmax((true_labels > 0).sum(axis=(1, 2))))
    axis.imshow(sitk.GetArrayFromImage(read_image(image))[middle], cmap="gray", interpolation="nearest")
    for label in schema.labels:
        mask = found_labels[middle] == label.value
        veil = np.dstack([np.broadcast_to(label.colour, (*mask.shape, 3)), 0.45 * mask])
        axis.imshow(veil, interpolation="nearest")
        if (true_labels[middle] == label.value).any():
            axis.contour(true_labels[middle] == label.value, levels=[0.5], colors=[label.colour], linewidths=1.6)
    axis.set_title(image.name, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_bars(axis: Axes, results: dict[str, tuple[float, float]]) -> None:
    places = np.arange(len(results))
    for column, (name, colour) in enumerate((("registered atlases", "0.65"), ("trained network", "tab:blue"))):
        heights = [values[column] for values in results.values()]
        bars = axis.bar(places + 0.4 * column - 0.2, heights, width=0.38, label=name, color=colour)
        axis.bar_label(bars, fmt="%.2f", fontsize=8)
    axis.set_xticks(places, results)
    axis.set_ylim(0, 1.12)
    axis.set_ylabel("mean Dice, 10 test scans")
    axis.legend(loc="upper center", ncols=2, fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
