"""From a model bundle and a scan to a label map on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .device import autocast, memory_format
from .grid import WorkingGrid
from .model import ModelBundle

WINDOW_OVERLAP = 0.5
WINDOWS_AT_ONCE = 2


@dataclass
class Segmentation:
    """What the predictor finds in one scan.

    Attributes:
        labels: label values on the scan's own grid.
        placement: of the scan on the working grid.
        lattice: the working grid, enlarged where the scan is larger.
        found: class probabilities on the lattice, float32 (K, D, H, W), background first.
        probabilities: the same per class as a float32 image on the scan's own grid; None unless asked for.
    """

    labels: sitk.Image
    placement: sitk.Transform
    lattice: WorkingGrid
    found: np.ndarray
    probabilities: list[sitk.Image] | None = None


class Predictor:
    """A model loaded once, ready for any number of scans.

    Args:
        bundle: the model.
        device: where to compute.

    Attributes:
        windows_at_once: of a scan larger than the working grid; fewer need less memory.

    Raises:
        InputError: the model's weights do not fit its description.
    """

    def __init__(self, bundle: ModelBundle, device: torch.device) -> None:
        self.schema, self.grid, self.device = bundle.schema, bundle.grid, device
        self.network = bundle.segmentation_net().to(device, memory_format=memory_format(device))
        self.reference = bundle.reference
        self.windows_at_once = WINDOWS_AT_ONCE

    def segment(
        self,
        image: sitk.Image,
        probabilities: bool = False,
        largest_component: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> Segmentation:
        """Segments a scan of any size, spacing and orientation.

        Args:
            image: 3-D scalar scan.
            probabilities: also give the class probabilities.
            largest_component: keep only the largest connected component of each structure.
            check: called before each pass of the network; what it raises ends the segmentation.
        """
        placement = self.grid.place(image, self.reference)
        lattice = self.grid.lattice(image, placement)
        found = self.probabilities(lattice.sample_image(image, placement), check)
        classes = lattice.restore(found, image, placement)
        if largest_component:
            classes = keep_largest_components(classes)
        maps = lattice.restore_probabilities(found, image, placement) if probabilities else None
        return Segmentation(self.label_values(classes), placement, lattice, found, maps)

    @torch.no_grad()
    def probabilities(self, volume: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
        """Class probabilities float32 (K, D, H, W) of a normalised volume (D, H, W) in the working grid's spacing.

        Volumes larger than the working grid are seen through overlapping windows of its size, blended with Gaussian
        weights; ``check`` is called before each pass of the network.
        """

        def classify(windows: Tensor) -> Tensor:
            check()
            return self._classify(windows)

        x = torch.as_tensor(volume, dtype=torch.float32)[None, None]
        if x.shape[2:] == self.grid.shape:
            return classify(x.to(self.device))[0].cpu().numpy()
        from monai.inferers import sliding_window_inference  # seconds to import, and most scans need no windows

        found = sliding_window_inference(
            x,
            self.grid.shape,
            self.windows_at_once,
            classify,
            WINDOW_OVERLAP,
            mode="gaussian",
            sw_device=self.device,
            device="cpu",
        )
        return found[0].numpy()

    def _classify(self, windows: Tensor) -> Tensor:
        with autocast(self.device):
            logits = self.network(windows.contiguous(memory_format=memory_format(self.device)))
        return logits.float().softmax(1)

    def label_values(self, classes: sitk.Image) -> sitk.Image:
        """Class indices as the label values of the atlases, on the same grid."""
        labels = sitk.GetImageFromArray(self.schema.decode(sitk.GetArrayViewFromImage(classes)))
        labels.CopyInformation(classes)
        return labels


def keep_largest_components(classes: sitk.Image) -> sitk.Image:
    """Sets to background all but the largest connected component (faces, edges and corners) of each class."""
    result = sitk.Image(classes.GetSize(), classes.GetPixelID())
    result.CopyInformation(classes)
    for index in np.unique(sitk.GetArrayViewFromImage(classes)).tolist():
        if index:
            components = sitk.RelabelComponent(sitk.ConnectedComponent(classes == index, True))
            result = sitk.Mask(result, components != 1, outsideValue=index)
    return result
