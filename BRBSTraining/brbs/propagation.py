"""Label propagation: the atlases' label maps carried onto a scan by the registration network alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from .anisotropy import axis_scales
from .device import autocast, memory_format
from .model import ModelBundle
from .steps import displacement
from .warp import onehot_at, sampling_grid


class Propagation:
    """The atlases of a model, ready to be warped onto scans.

    Args:
        bundle: the model; its registration network and atlases are used.
        device: where to compute.

    Raises:
        InputError: the model has no registration network.
    """

    def __init__(self, bundle: ModelBundle, device: torch.device) -> None:
        self.device = device
        self.scales = axis_scales(bundle.settings.registration_scale, bundle.grid.spacing[::-1])
        self.network = bundle.registration_net().to(device, memory_format=memory_format(device))
        self.images = torch.as_tensor(bundle.atlas_images, dtype=torch.float32, device=device).unsqueeze(1)
        self.labels = torch.as_tensor(bundle.atlas_labels, device=device)
        self.class_count = bundle.schema.class_count

    @torch.no_grad()
    def fields(self, volume: np.ndarray, check: Callable[[], None] = lambda: None) -> Iterator[torch.Tensor]:
        """Displacement fields of the atlases, one after the other, onto a scan; arguments as for :meth:`vote`.

        Yields:
            (1, 3, D, H, W) in voxels, float32: atlas -> scan.
        """
        scan = torch.as_tensor(volume, dtype=torch.float32, device=self.device)[None, None]
        for image in self.images.split(1):
            check()
            with autocast(self.device):
                flow = displacement(self.network, image, scan, self.scales)
            yield flow.float()

    @torch.no_grad()
    def vote(self, volume: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
        """Mean of the atlases' warped label maps on a scan.

        Args:
            volume: float32 (D, H, W) in [0, 1] on the working grid.
            check: called before each atlas; what it raises ends the vote.

        Returns:
            float32 (K, D, H, W) in [0, 1]; its argmax is the majority vote. The sum over the classes is the share of
            the atlases that say something of a voxel: less than 1 where fields lead out of their volumes.
        """
        total = torch.zeros(1, device=self.device)
        for flow, labels in zip(self.fields(volume, check), self.labels.split(1)):
            positions = sampling_grid(flow).permute(0, 4, 1, 2, 3)
            total = total + onehot_at(labels, positions, self.class_count)
        return (total[0] / len(self.images)).cpu().numpy()
