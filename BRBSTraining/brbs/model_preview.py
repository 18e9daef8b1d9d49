"""A picture by which a model is recognised: its first atlas with the structures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from .errors import InputError
from .files import replacing
from .label_schema import LabelSchema
from .model_description import read_description
from .tensor_file import map_tensor

PREVIEW_FILE = "preview.png"
INCHES, DOTS_PER_INCH = 2.56, 100

log = logging.getLogger("brbs")


def preview(folder: str | Path) -> Path | None:
    """Draws the axial slice of a model's first atlas that shows most of the structures, outlined.

    Args:
        folder: the model's; the picture becomes ``preview.png`` in it.

    Returns:
        The square PNG file; None if the model has no atlases. A picture that cannot be drawn is told in the log and
        gives None, too: a model is as good without.
    """
    folder = Path(folder)
    try:
        description = read_description(folder)
        atlases = folder / Path(description["files"]["atlases"]).name
        images, labels = map_tensor(atlases, "images"), map_tensor(atlases, "labels")
        if not len(images):
            return None
        schema = LabelSchema.from_json(description["labels"])
        width, height = description["grid"]["spacing"][:2]
        _draw(np.array(images[0], np.float32), np.array(labels[0]), schema, height / width, folder / PREVIEW_FILE)
    except InputError as error:
        log.warning("%s", error)
        return None
    except Exception as error:  # whatever a stranger's model, or a Python without Matplotlib, makes of it
        log.warning("%s: no picture of this model could be drawn (%r)", folder, error)
        return None
    return folder / PREVIEW_FILE


def _draw(image: np.ndarray, labels: np.ndarray, schema: LabelSchema, aspect: float, path: Path) -> None:
    """Writes the PNG of an atlas (D, H, W) whose voxels are ``aspect`` times as high as wide."""
    from matplotlib.figure import Figure

    present = sum((labels == number).any(axis=(1, 2)).astype(int) for number in range(1, schema.class_count))
    index = int(np.argmax(present * labels[0].size + (labels > 0).sum(axis=(1, 2))))
    figure = Figure(figsize=(INCHES, INCHES), dpi=DOTS_PER_INCH, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.imshow(image[index], cmap="gray", vmin=0, vmax=1, aspect=aspect)
    for number, label in enumerate(schema.labels, 1):
        mask = labels[index] == number
        if mask.any():
            axes.contour(mask, levels=[0.5], colors=[label.colour], linewidths=1.5)
    with replacing(path) as aside:
        figure.savefig(aside)
