"""An example of what the networks are learning from at this moment, to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .augmentation import random_contrast
from .generation import draw_path
from .learner import Learner
from .preparation import Prepared
from .schedule import COARSE, SEGMENTATION
from .settings import Settings
from .steps import generate
from .volumes import write_image, write_label_map

IMAGE_FILE, LABELS_FILE = "sample/image.nrrd", "sample/labels.seg.nrrd"


@dataclass
class Sample:
    """A labelled scan that was generated: by S3P, or, while the segmentation network learns alone, an augmented atlas.

    Attributes:
        image: (D, H, W) in [0, 1].
        labels: (D, H, W) class indices.
        atlas: index of the atlas.
        scans: indices of the unlabeled scans that gave style and space; None for an augmented atlas.
        alpha: share of the deformation, beta: share of the style change; None for an augmented atlas.
    """

    image: Tensor
    labels: Tensor
    atlas: int
    scans: tuple[int, int] | None = None
    alpha: float | None = None
    beta: float | None = None


@torch.no_grad()
def draw_sample(learner: Learner, progress: float, generator: torch.Generator) -> Sample:
    """Draws as the phase at ``progress`` does; the training's random stream and pseudo labels stay as they are.

    Args:
        learner: the networks.
        progress: of the training, 0..1.
        generator: on the CPU, of the caller.
    """
    data, settings = learner.data, learner.settings
    atlas = data.draw_index(generator)
    if learner.phase(progress) in (COARSE, SEGMENTATION):
        image, onehot = data.draw_atlas(generator, settings.augmentation, atlas)
        return Sample(_recoloured(image, settings, generator)[0, 0], onehot[0].argmax(0), atlas)
    scans = data.draw_scans(generator)
    with _pseudo_labels_kept(learner, scans):
        triple = learner.draw(scans, progress, generator, atlas)
    alpha, beta = draw_path(settings.sampling, generator).to(data.device)
    generated = generate(learner.applied(learner.registration), triple, alpha, beta, settings)
    image = _recoloured(generated.image, settings, generator)
    return Sample(image[0, 0], generated.labels[0].argmax(0), atlas, scans, float(alpha), float(beta))


def _recoloured(image: Tensor, settings: Settings, generator: torch.Generator) -> Tensor:
    return image if settings.augmentation == "published" else random_contrast(image, generator)


@contextmanager
def _pseudo_labels_kept(learner: Learner, scans: tuple[int, int]) -> Iterator[None]:
    """Drawing renews the pseudo labels of scans; afterwards they are again as old as they were."""
    indices = list(scans)
    labels, ages = learner.data.scan_labels[indices].clone(), learner.labelled_at[indices].clone()
    try:
        yield
    finally:
        learner.data.scan_labels[indices], learner.labelled_at[indices] = labels, ages


def write_sample(sample: Sample, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Writes image and label map, in the frame of the working grid, over those of an earlier sample.

    Args:
        sample: to be written.
        prepared: the study that it was drawn from.
        folder: of the training's job.

    Returns:
        What an event tells of it: files relative to ``folder``, names of atlas and scans, fractions.

    Raises:
        InputError: a file cannot be written.
    """
    grid, schema = prepared.grid, prepared.schema
    write_image(grid.image(sample.image.float().cpu().numpy()), folder / IMAGE_FILE)
    labels = grid.image(schema.decode(sample.labels.cpu().numpy()))
    write_label_map(labels, folder / LABELS_FILE, schema.meta)
    told = {"image": IMAGE_FILE, "labels": LABELS_FILE, "atlas": prepared.atlas_names[sample.atlas]}
    if sample.scans is None:
        return told
    style, space = (prepared.unlabeled_names[scan] for scan in sample.scans)
    return told | {"style": style, "space": space, "alpha": sample.alpha, "beta": sample.beta}
