"""How far two opinions of a scan agree: the segmentation network's, and the atlases carried onto the scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from .metrics import dice
from .model import ModelBundle
from .predictor import Predictor
from .propagation import Propagation


@dataclass
class Findings:
    """Agreement on one scan.

    Attributes:
        confidence: Dice of both opinions by structure, 0..1; 1 where neither sees the structure.
        uncertainty: normalised entropy of their mean, float32 on the scan's own grid, 0 (sure) to 1.
    """

    confidence: dict[str, float]
    uncertainty: sitk.Image


class Agreement:
    """Compares a model's segmentation network with its atlases warped by its registration network.

    Both see the scan resampled onto the model's working grid, also where the predictor goes through a larger scan
    window by window: what lies outside of the trained field of view is not compared. Both networks learned from the
    same atlases, so agreement is no proof.

    Args:
        bundle: the model.
        predictor: the same model's.
        device: where to compute.

    Raises:
        InputError: the model has no registration network.
    """

    def __init__(self, bundle: ModelBundle, predictor: Predictor, device: torch.device) -> None:
        self._predictor, self._propagation = predictor, Propagation(bundle, device)

    def findings(self, image: sitk.Image, check: Callable[[], None] = lambda: None) -> Findings:
        """Agreement on a scan of any size, spacing and orientation.

        Args:
            image: 3-D scalar scan.
            check: called before each pass of a network; what it raises ends the comparison.
        """
        grid, labels = self._predictor.grid, self._predictor.schema.labels
        placement = grid.place(image, self._predictor.reference)
        volume = grid.sample_image(image, placement)
        segmented, propagated = self._predictor.probabilities(volume, check), self._propagation.vote(volume, check)
        found = dice(segmented.argmax(0), propagated.argmax(0), range(1, len(labels) + 1))
        unsure = uncertainty(segmented, propagated)
        restored = grid.restore_probabilities(np.stack([1 - unsure, unsure]), image, placement)[1]
        return Findings({label.name: found[index + 1] for index, label in enumerate(labels)}, restored)


def uncertainty(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Entropy of the mean of two class distributions (K, D, H, W), divided by its maximum: (D, H, W) in 0..1."""
    mean = np.clip((first + second) / 2, 1e-7, 1)
    return (-(mean * np.log(mean)).sum(0) / np.log(len(mean))).clip(0, 1).astype(np.float32)
