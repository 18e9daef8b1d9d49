"""The path of samples from an atlas to two scans, and one sample on it with all that led to it.

All arrays are (D, H, W) on the model's working grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .anisotropy import axis_scales
from .data import TrainingData
from .device import memory_format
from .generation import draw_fractions
from .label_schema import LabelSchema
from .losses import lncc
from .metrics import dice
from .model import ModelBundle
from .steps import coarse_displacement, displacement, finer, generate_along
from .warp import follow, identity_grid, jacobian_determinant, warp

NEVER = 2.0  # a share of the style change that none reaches


@dataclass
class Sample:
    """One generated sample and what it was made from; images float32 in [0, 1], labels uint8 class indices.

    Attributes:
        atlas_image, atlas_labels: x_l and y_l.
        style_image: the scan whose style is taken, x_u.
        space_image: the scan whose shape is taken.
        style_difference: x_ul - x_l, with x_ul the style scan warped to the atlas; lies over the atlas.
        style_labels: the class that the label map turns to as style is taken over; lies over the atlas.
        style_switch: the share beta of the style change above which it does, float32; ``NEVER`` where it does not.
        flow: (3, D, H, W) displacement atlas -> space scan in voxels, (D, H, W) order, pull-back: the whole of it.
        coarse_flow: (3, d, h, w), the same as R gives it, on a grid and in voxels ``scales`` times coarser.
        scales: voxels that make one of R's along (D, H, W).
        jacobian: determinant of ``flow``.
        generated_image, generated_labels: x_new and y_new, made as the model's training makes them.
        figures: alpha, beta, LNCC and folding as JSON values, see :func:`brbs.inspector.inspect`.
    """

    atlas_image: np.ndarray
    atlas_labels: np.ndarray
    style_image: np.ndarray
    space_image: np.ndarray
    style_difference: np.ndarray
    style_labels: np.ndarray
    style_switch: np.ndarray
    flow: np.ndarray
    coarse_flow: np.ndarray
    scales: tuple[int, ...]
    jacobian: np.ndarray
    generated_image: np.ndarray
    generated_labels: np.ndarray
    figures: dict[str, Any]


@dataclass
class Draw:
    """One plane of a sample that was drawn as published: alpha, beta, image in [0, 1] and class indices."""

    alpha: float
    beta: float
    image: np.ndarray
    labels: np.ndarray


class SamplePath:
    """All samples between one atlas and two scans, made by the training's own functions from networks in float32.

    The networks are asked once. As the model's settings say, samples are those of the publication, or sharp ones whose
    label map follows S's opinion of the style scan. Beyond the grid, sharp samples continue what lies at its edge,
    published ones are 0. What training adds to make them differ more is left out: rotation,
    scale, bending and changes of contrast.

    Args:
        bundle: the model.
        atlas: index of the atlas.
        style_image, space_image: (D, H, W) in [0, 1].
        device: where to compute.
    """

    @torch.no_grad()
    def __init__(
        self, bundle: ModelBundle, atlas: int, style_image: np.ndarray, space_image: np.ndarray, device: torch.device
    ) -> None:
        self.schema, self.settings = bundle.schema, bundle.settings
        self._atlas_labels = bundle.atlas_labels[atlas]
        self._published = bundle.settings.augmentation == "published"
        only = slice(atlas, atlas + 1)
        self._data = TrainingData(
            bundle.atlas_images[only],
            bundle.atlas_labels[only],
            np.stack([style_image, space_image]),
            bundle.schema.class_count,
            bundle.grid.spacing[::-1],
            device,
        )
        style, space = self._data.scans.split(1)
        if not self._published:
            segmentation = bundle.segmentation_net().to(device, memory_format=memory_format(device))
            self._data.scan_labels[0] = segmentation(style)[0].argmax(0)
        registration = bundle.registration_net().to(device, memory_format=memory_format(device))
        image = self._data.atlas_images
        self._scales = axis_scales(bundle.settings.registration_scale, self._data.spacing)
        self._flow_u = displacement(registration, style, image, self._scales)
        self._coarse_flow_l = coarse_displacement(registration, image, space, self._scales)
        self._flow_l = finer(self._coarse_flow_l, self._scales, self._data.shape)
        self._triple = self._data.triple(0, (0, 1), identity_grid(self._data.shape, device))

    @torch.no_grad()
    def at(self, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
        """x_new and y_new of shares of the deformation (alpha) and of the style change (beta).

        Returns:
            Image (1, 1, D, H, W) and class indices (1, 1, D, H, W).
        """
        image, labels, *_ = generate_along(self._triple, self._flow_u, self._flow_l, alpha, beta, self.settings)
        return image, labels.argmax(1, keepdim=True)

    @torch.no_grad()
    def sample(self, alpha: float, beta: float) -> Sample:
        """The sample of shares alpha and beta, and what a viewer needs to make those of other shares."""
        atlas_image, (style, space) = self._data.atlas_images, self._data.scans.split(1)
        generated, labels = self.at(alpha, beta)
        styled, _ = self.at(0.0, 1.0)
        warped, warped_labels = self._warped_atlas()
        style_labels, style_switch = self._style_switch()
        jacobian = jacobian_determinant(self._flow_l)
        share = jacobian_determinant(alpha * self._flow_l)
        figures = {
            "alpha": alpha,
            "beta": beta,
            "lncc": {"before": float(lncc(atlas_image, space)), "after": float(lncc(warped, space))},
            "folded_fraction": {
                "whole": _folded(jacobian, warped_labels, self.schema),
                "sample": _folded(share, labels, self.schema),
            },
        }
        return Sample(
            atlas_image=_array(atlas_image),
            atlas_labels=self._atlas_labels,
            style_image=_array(style),
            space_image=_array(space),
            style_difference=_array(styled - atlas_image),
            style_labels=style_labels,
            style_switch=style_switch,
            flow=self._flow_l[0].cpu().numpy(),
            coarse_flow=self._coarse_flow_l[0].cpu().numpy(),
            scales=self._scales,
            jacobian=_array(jacobian),
            generated_image=_array(generated),
            generated_labels=_array(labels.to(torch.uint8)),
            figures=figures,
        )

    def draws(self, count: int, seed: int) -> list[Draw]:
        """Samples of shares drawn as published, Beta(0.3, 0.3); of each the axial plane through most of the structures.

        Args:
            count: how many.
            seed: of the draws.
        """
        generator = torch.Generator().manual_seed(seed)
        plane = centre(self._atlas_labels)[0]
        drawn = []
        for _ in range(count):
            alpha, beta = draw_fractions(2, generator).tolist()
            image, labels = (volume[0, 0, plane].cpu().numpy() for volume in self.at(alpha, beta))
            drawn.append(Draw(alpha, beta, image, labels))
        return drawn

    @torch.no_grad()
    def overlap(self, reference: np.ndarray) -> dict[str, Any]:
        """Dice of the atlas's label map, as it is and wholly warped, with the space scan's: an entry for the figures.

        Args:
            reference: (D, H, W) class indices.
        """
        warped = _array(self._warped_atlas()[1])
        classes = range(1, self.schema.class_count)
        before, after = (
            {self.schema.labels[index - 1].name: value for index, value in dice(labels, reference, classes).items()}
            for labels in (self._atlas_labels, warped)
        )
        return {"dice": {"before": before, "after": after}}

    def _warped_atlas(self) -> tuple[Tensor, Tensor]:
        """The atlas wholly warped, as R's loss sees it: image and class indices, both (1, 1, D, H, W)."""
        warped = warp(torch.cat([self._triple.atlas_image, self._triple.atlas_onehot], dim=1), self._flow_l)
        return warped[:, :1], warped[:, 1:].argmax(1, keepdim=True)

    def _style_switch(self) -> tuple[np.ndarray, np.ndarray]:
        """Class and share of :attr:`Sample.style_labels` and :attr:`Sample.style_switch`."""
        if self._published:
            return self._atlas_labels, np.full(self._data.shape, NEVER, np.float32)
        own = self._data.atlas_labels.long().unsqueeze(1)
        scan_positions = follow(self._triple.positions, self._flow_u)
        opinion = self._triple.scan_1_source.labels_at(scan_positions)
        mine = opinion.gather(1, own)
        best, other = opinion.scatter(1, own, -1.0).max(1, keepdim=True)
        # y_new is the argmax of (1 - beta) [class = own] + beta opinion, the first of equal classes.
        switch = torch.where(best > mine, 1 / (1 + best - mine), NEVER)
        only_at_the_end = (best == mine) & (other < own)
        switch = torch.where(only_at_the_end, float(np.nextafter(np.float32(1), np.float32(0))), switch)
        return _array(other.to(torch.uint8)), _array(switch)


def centre(labels: np.ndarray) -> tuple[int, ...]:
    """Along each axis the plane that cuts most of the structures; the middle where there are none."""
    if not labels.any():
        return tuple(size // 2 for size in labels.shape)
    inside = labels != 0
    return tuple(int(inside.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3))


def _array(volume: Tensor) -> np.ndarray:
    return volume[0, 0].cpu().numpy()


def _folded(jacobian: Tensor, classes: Tensor, schema: LabelSchema) -> dict[str, Any]:
    """Fraction of voxels with a determinant of 0 or less, overall and within each structure (None: no voxel)."""
    folded = jacobian <= 0

    def within(mask: Tensor) -> float | None:
        return float(folded[mask].float().mean()) if mask.any() else None

    structures = {label.name: within(classes == i) for i, label in enumerate(schema.labels, start=1)}
    return {"all": float(folded.float().mean()), "structures": structures}
