"""A model of tiny untrained networks, and networks whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tiny_study import SETTINGS, prepared_study

from brbs.model import ModelBundle
from brbs.networks import RegistrationNet, SegmentationNet


def tiny_bundle(seed: int = 0, **changes) -> ModelBundle:
    """A complete bundle of the tiny study with random weights; ``changes`` replaces fields."""
    prepared = prepared_study(atlases=2, unlabeled=1)
    channels = SETTINGS.channels
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        segmentation = SegmentationNet(prepared.schema.class_count, channels).state_dict()
        registration = RegistrationNet(channels).state_dict()
    bundle = ModelBundle(
        schema=prepared.schema,
        grid=prepared.grid,
        settings=SETTINGS,
        channels=channels,
        segmentation=segmentation,
        registration=registration,
        atlas_images=prepared.atlas_images,
        atlas_labels=prepared.atlas_labels,
        provenance={"atlases": prepared.atlas_names, "step": 7},
    )
    return replace(bundle, **changes)


def brightness_classes(image: torch.Tensor) -> torch.Tensor:
    """Logits of a segmentation that knows only brightness (0..1): dark, medium, bright are classes 0, 1, 2."""
    levels = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1, 1)
    return -100 * (image - levels).square()


def smooth_noise(shape: tuple[int, ...], seed: int, knots: int = 4) -> torch.Tensor:
    """Smooth random volumes: ``shape`` (N, C, D, H, W), standard normal at ``knots`` points an axis."""
    coarse = torch.randn(*shape[:2], knots, knots, knots, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=shape[2:], mode="trilinear", align_corners=True)


def blocks(size: tuple[int, int, int]) -> np.ndarray:
    """Brightness (D, H, W) of size (x, y, z): a medium block in the middle with a bright core, dark around."""
    values = np.zeros(size[::-1], np.float32)
    depth, height, width = values.shape
    values[depth // 4 : -depth // 4, height // 4 : -height // 4, width // 4 : -width // 4] = 0.5
    values[depth // 2 - 1 : depth // 2 + 2, height // 2 - 1 : height // 2 + 2, width // 2 - 1 : width // 2 + 2] = 1
    return values
