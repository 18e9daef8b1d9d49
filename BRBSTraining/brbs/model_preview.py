"""A picture by which a model is recognised: its first atlas with the structures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from .errors import InputError
from .files import replacing
from .preparation import Prepared

PREVIEW_FILE = "preview.png"
INCHES, DOTS_PER_INCH = 2.56, 100

log = logging.getLogger("brbs")


def draw_preview(prepared: Prepared, path: Path) -> None:
    """Writes a square PNG of the axial slice of the first atlas that shows most of the structures, outlined.

    A picture that cannot be written is told in the log: a model is as good without.
    """
    from matplotlib.figure import Figure

    image, labels = prepared.atlas_images[0], prepared.atlas_labels[0]
    present = sum((labels == number).any(axis=(1, 2)).astype(int) for number in range(1, prepared.schema.class_count))
    index = int(np.argmax(present * labels[0].size + (labels > 0).sum(axis=(1, 2))))
    figure = Figure(figsize=(INCHES, INCHES), dpi=DOTS_PER_INCH, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    width, height = prepared.grid.spacing[:2]
    axes.imshow(image[index], cmap="gray", vmin=0, vmax=1, aspect=height / width)
    for number, label in enumerate(prepared.schema.labels, 1):
        mask = labels[index] == number
        if mask.any():
            axes.contour(mask, levels=[0.5], colors=[label.colour], linewidths=1.5)
    try:
        with replacing(path) as aside:
            figure.savefig(aside)
    except InputError as error:
        log.warning("%s", error)
