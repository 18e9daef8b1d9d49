"""Generated training data: sampled paths of style and space (S3P), mixtures (MMR); paper sections III.C and III.D."""

from __future__ import annotations

import torch
from torch import Tensor

from .settings import PATH_CONCENTRATION
from .warp import warp


def draw_fractions(count: int, generator: torch.Generator) -> Tensor:
    """Draws ``count`` independent fractions from Beta(0.3, 0.3), float32 in [0, 1]."""
    # torch._sample_dirichlet takes a generator, torch.distributions does not.
    concentration = torch.full((count, 2), PATH_CONCENTRATION, dtype=torch.float64)
    return torch._sample_dirichlet(concentration, generator)[:, 0].float()


def draw_path(sampling: str, generator: torch.Generator) -> Tensor:
    """Draws how far a sample goes from the atlas towards two scans: (alpha, beta), fractions of space and style.

    Args:
        sampling: the setting: "path" draws each from Beta(0.3, 0.3), "ends" goes all the way, "none" stays.
        generator: CPU generator of the draws.

    Returns:
        (2,), each in [0, 1].
    """
    drawn = draw_fractions(2, generator)
    return {"path": drawn, "ends": torch.ones(2), "none": torch.zeros(2)}[sampling]


def style_towards(atlas_image: Tensor, styled_image: Tensor, beta: Tensor | float) -> Tensor:
    """Moves the atlas's look a fraction ``beta`` of the way to a scan registered to it: x_l + beta (x_ul - x_l)."""
    return atlas_image + beta * (styled_image - atlas_image)


def space_style_sample(
    atlas_image: Tensor,
    atlas_onehot: Tensor,
    styled_image: Tensor,
    flow: Tensor,
    alpha: Tensor | float,
    beta: Tensor | float,
) -> tuple[Tensor, Tensor]:
    """S3P: one new labeled sample on the path from an atlas to two scans, style first, then space.

    Args:
        atlas_image: x_l, (N, 1, D, H, W).
        atlas_onehot: y_l, (N, K, D, H, W).
        styled_image: x_ul, a scan warped to the atlas, (N, 1, D, H, W).
        flow: atlas -> second scan, (N, 3, D, H, W) in voxels.
        alpha: fraction of the deformation, a number or of a shape that broadcasts.
        beta: fraction of the style change, likewise.

    Returns:
        x_new (N, 1, D, H, W) and y_new (N, K, D, H, W).
    """
    image = style_towards(atlas_image, styled_image, beta)
    warped = warp(torch.cat([image, atlas_onehot.to(image.dtype)], dim=1), alpha * flow)
    return warped[:, :1], warped[:, 1:]


def mixture(image_1: Tensor, image_2: Tensor, gamma: Tensor | float) -> Tensor:
    """MMR's input: gamma x_1 + (1 - gamma) x_2."""
    return image_2 + gamma * (image_1 - image_2)
