"""How far two opinions of a scan agree: the segmentation network's, and the atlases carried onto the scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from .metrics import dice
from .model import ModelBundle
from .predictor import Segmentation
from .propagation import Propagation
from .restoration import restored


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
    """Compares what a model's segmentation network has found with its atlases warped by its registration network.

    They are compared on the model's working grid; of a scan that is larger, what lies outside of the trained field of
    view is not compared. Both networks learned from the same atlases, so agreement is no proof.

    Args:
        bundle: the model.
        device: where to compute.

    Raises:
        InputError: the model has no registration network.
    """

    def __init__(self, bundle: ModelBundle, device: torch.device) -> None:
        self._grid, self._propagation = bundle.grid, Propagation(bundle, device)
        self._names = [label.name for label in bundle.schema.labels]

    def findings(
        self, image: sitk.Image, segmentation: Segmentation, check: Callable[[], None] = lambda: None
    ) -> Findings:
        """Agreement on a scan of any size, spacing and orientation.

        Args:
            image: 3-D scalar scan.
            segmentation: what the predictor has found in it.
            check: called before each pass of a network; what it raises ends the comparison.
        """
        grid, placement = self._grid, segmentation.placement
        propagated = self._propagation.vote(segmentation.volume, check)
        found = dice(segmentation.found.argmax(0), propagated.argmax(0), range(1, len(self._names) + 1))
        unsure = restored(grid, uncertainty(segmentation.found, propagated), image, placement)
        return Findings({name: found[index] for index, name in enumerate(self._names, start=1)}, unsure)


def uncertainty(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Entropy of the mean of two class distributions (K, D, H, W), divided by its maximum: (D, H, W) in 0..1."""
    mean = np.clip((first + second) / 2, 1e-7, 1)
    return (-(mean * np.log(mean)).sum(0) / np.log(len(mean))).clip(0, 1).astype(np.float32)
