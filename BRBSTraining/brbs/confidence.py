"""How sure a model is of a segmentation: the Dice that it expects itself, less where its two networks contradict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from .model import ModelBundle
from .predictor import Segmentation
from .propagation import Propagation
from .restoration import restored

SHARPENING = 1.5  # exponent of probabilities: networks that learn from averages and mixtures give too soft ones
DRAWING_VARIANCE = 0.18  # voxels²: people draw outlines about half a voxel apart, however sure a network is of one
ENOUGH_AGREEMENT = 0.5  # of the two networks, from which on it says no more; far below that of scans like the atlases


@dataclass
class Findings:
    """Confidence in the segmentation of one scan.

    Attributes:
        confidence: by structure, 0..1; None where there is surely none on the working grid.
        uncertainty: normalised entropy of what both networks say, float32 on the scan's own grid, 0 (sure) to 1.
    """

    confidence: dict[str, float | None]
    uncertainty: sitk.Image


class Confidence:
    """Tells how much a segmentation deserves trust, without a reference.

    The confidence of a structure is the Dice to be expected if the segmentation network's probabilities, sharpened
    by :data:`SHARPENING`, are right but for where people draw outlines (:func:`as_drawn`, :func:`expected_dice`). Of a
    scan unlike all that it has learned from, that network may be sure and wrong; so where the atlases warped onto the
    scan agree with the segmentation less than :data:`ENOUGH_AGREEMENT`, all confidences fall in proportion. Everything
    is computed on the working grid; of a scan that is larger, what lies outside of the trained field of view does not
    count. It is no proof: both networks learned from the same atlases.

    Args:
        bundle: the model. Without atlases, or before its registration network has learned, probabilities alone count.
        device: where to compute.

    Raises:
        InputError: the registration network is damaged.
    """

    def __init__(self, bundle: ModelBundle, device: torch.device) -> None:
        registers = bundle.registration is not None and bundle.provenance.get("registration_steps") != 0
        self._propagation = Propagation(bundle, device) if registers and len(bundle.atlas_images) else None
        self._grid, self._names = bundle.grid, [label.name for label in bundle.schema.labels]

    def findings(
        self, image: sitk.Image, segmentation: Segmentation, check: Callable[[], None] = lambda: None
    ) -> Findings:
        """Confidence in the segmentation of a scan of any size, spacing and orientation.

        Args:
            image: 3-D scalar scan.
            segmentation: what the predictor has found in it.
            check: called before each pass of a network; what it raises ends it.
        """
        found = opinions = segmentation.found
        trust = 1.0
        if self._propagation is not None:
            propagated = self._propagation.vote(segmentation.volume, check)
            trust = min(1.0, agreement(found.argmax(0), propagated.argmax(0)) / ENOUGH_AGREEMENT)
            opinions = (found + propagated) / (1 + propagated.sum(0))
        expected = expected_dice(as_drawn(sharpened(found)), found.argmax(0))
        unsure = restored(self._grid, uncertainty(opinions), image, segmentation.placement)
        told = {name: None if dice is None else trust * dice for name, dice in zip(self._names, expected, strict=True)}
        return Findings(told, unsure)


def sharpened(probabilities: np.ndarray) -> np.ndarray:
    """Class distributions (K, D, H, W) whose odds are raised to the power :data:`SHARPENING`; the same shape."""
    raised = probabilities**SHARPENING
    return raised / raised.sum(0)


def as_drawn(probabilities: np.ndarray) -> np.ndarray:
    """Class distributions (K, D, H, W) smoothed by :data:`DRAWING_VARIANCE` along each axis; the same shape."""
    kernel = {"variance": [DRAWING_VARIANCE] * 3, "maximumKernelWidth": 3, "useImageSpacing": False}
    images = map(sitk.GetImageFromArray, probabilities)
    return np.stack([sitk.GetArrayFromImage(sitk.DiscreteGaussian(image, **kernel)) for image in images])


def expected_dice(probabilities: np.ndarray, classes: np.ndarray) -> list[float | None]:
    """Dice of a label map with the truth, if each voxel's truth is drawn by its probabilities.

    Ratio of the expectations of numerator and denominator: 2 sum of p over the structure / (sum of p + its voxels).

    Args:
        probabilities: (K, D, H, W), background first.
        classes: the label map, class indices (D, H, W).

    Returns:
        K - 1 values in 0..1; None for a structure of which neither a voxel is found nor one expected.
    """
    values: list[float | None] = []
    for index in range(1, len(probabilities)):
        inside = classes == index
        expected, voxels = float(probabilities[index].sum(dtype=np.float64)), int(inside.sum())
        certain = 2 * float(probabilities[index][inside].sum(dtype=np.float64))
        values.append(None if voxels == 0 and expected < 1 else certain / (expected + voxels))
    return values


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two label maps (D, H, W) over all structures together, by volume; 1 where neither has any."""
    both = np.count_nonzero((first == second) & (first > 0))
    voxels = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * both / voxels if voxels else 1.0


def uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of class distributions (K, D, H, W), divided by its maximum: (D, H, W) in 0..1."""
    sure = np.clip(probabilities, 1e-7, 1)
    return (-(sure * np.log(sure)).sum(0) / np.log(len(sure))).clip(0, 1).astype(np.float32)
