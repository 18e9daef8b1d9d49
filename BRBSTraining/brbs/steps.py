"""The losses of one training step of each network (paper section III; weights in ``Settings``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .anisotropy import axis_scales
from .augmentation import random_contrast
from .data import TrainingData, Triple
from .generation import draw_fractions, draw_path, mixture, space_style_sample
from .losses import (
    cross_entropy_loss,
    dice_loss,
    inverse_loss,
    mix_loss,
    similarity_loss,
    smoothness_loss,
)
from .networks import RegistrationNet, SegmentationNet
from .settings import Settings
from .teacher import opinion
from .warp import follow, resize_flow, sample_at, warp

Losses = dict[str, Tensor]
Network = Callable[..., Tensor]
Pair = tuple[str, str]
Scales = tuple[int, ...]  # along (D, H, W)
ATLAS, SCAN_1, SCAN_2 = "atlas", "scan_1", "scan_2"
PAIRS = ((ATLAS, SCAN_1), (ATLAS, SCAN_2), (SCAN_2, SCAN_1))


def supervised_loss(logits: Tensor, target: Tensor, settings: Settings) -> Tensor:
    """Soft Dice loss of softmax(logits), plus weighted cross entropy, against class probabilities."""
    log_probabilities = F.log_softmax(logits.float(), dim=1)
    loss = dice_loss(log_probabilities.exp(), target)
    if settings.cross_entropy_weight:
        entropy = cross_entropy_loss(log_probabilities, target, settings.class_balance)
        loss = loss + settings.cross_entropy_weight * entropy
    return loss


def atlas_step(
    segmentation: Network, data: TrainingData, settings: Settings, generator: torch.Generator, scale: int = 1
) -> Losses:
    """Warm-up of S: two augmented atlases, ordinary supervised learning.

    Args:
        scale: S sees them so many times coarser, see :func:`brbs.anisotropy.axis_scales`.
    """
    scales = axis_scales(scale, data.spacing)
    draws = [data.draw_atlas(generator, settings.augmentation) for _ in range(2)]
    images = torch.cat([image for image, _ in draws])
    if settings.augmentation != "published":
        images = random_contrast(images, generator)
    target = torch.cat([onehot for _, onehot in draws])
    logits = segmentation(coarser(images, scales))
    loss = supervised_loss(logits, coarser(target, scales), settings)
    return {"segmentation": loss, "segmentation_total": loss}


def registration_losses(
    registration: Network, image_1: Tensor, image_2: Tensor, labels_1: Tensor, labels_2: Tensor, settings: Settings
) -> Losses:
    """L_R of a pair: both directions in one batch.

    Args:
        registration: R.
        image_1, image_2: (1, 1, D, H, W).
        labels_1, labels_2: class probabilities or one-hot label maps (1, K, D, H, W).
    """
    moving, fixed = torch.cat([image_1, image_2]), torch.cat([image_2, image_1])
    flows = registration(moving, fixed).float()
    warped = warp(torch.cat([moving, torch.cat([labels_1, labels_2])], dim=1), flows)
    # Means over the batch are halved sums over the two directions, hence the factors of 2.
    losses = {
        "smoothness": 2 * smoothness_loss(flows),
        "similarity": 2 * similarity_loss(warped[:, :1], fixed),
        "inverse": inverse_loss(flows[:1], flows[1:]),
        "consistency": 2 * dice_loss(warped[:, 1:], torch.cat([labels_2, labels_1])),
    }
    losses["registration_total"] = (
        settings.smoothness_weight * losses["smoothness"]
        + losses["similarity"]
        + settings.consistency_weight * losses["consistency"]
        + settings.inverse_weight * losses["inverse"]
    )
    return losses


def draw_pair(generator: torch.Generator) -> Pair:
    """Which two of a triple R learns from; it sees both ways round, so the swap of the release would change nothing."""
    return PAIRS[int(torch.randint(len(PAIRS), (1,), generator=generator))]


def registration_step(registration: Network, triple: Triple, pair: Pair, settings: Settings) -> Losses:
    """L_R of two of a triple, see :func:`draw_pair`."""
    (image_1, labels_1), (image_2, labels_2) = (_with_labels(triple, part) for part in pair)
    scales = axis_scales(settings.registration_scale, triple.spacing)
    image_1, image_2, labels_1, labels_2 = (coarser(part, scales) for part in (image_1, image_2, labels_1, labels_2))
    return registration_losses(registration, image_1, image_2, labels_1, labels_2, settings)


def _with_labels(triple: Triple, part: str) -> tuple[Tensor, Tensor]:
    if part == ATLAS:
        return triple.atlas_image, triple.atlas_onehot
    return (triple.scan_1, triple.scan_1_labels) if part == SCAN_1 else (triple.scan_2, triple.scan_2_labels)


def coarser(volume: Tensor, scales: Scales) -> Tensor:
    """Mean over cells of so many voxels along each axis (ragged edge cells included)."""
    return volume if max(scales) == 1 else F.avg_pool3d(volume, scales, ceil_mode=True, count_include_pad=False)


def displacement(registration: Network, moving: Tensor, fixed: Tensor, scales: Scales) -> Tensor:
    """R's displacement field at full resolution, computed on volumes ``scales`` times coarser along each axis."""
    return finer(coarse_displacement(registration, moving, fixed, scales), scales, moving.shape[2:])


def coarse_displacement(registration: Network, moving: Tensor, fixed: Tensor, scales: Scales) -> Tensor:
    """R's displacement field in voxels of volumes ``scales`` times coarser, see :func:`coarser`."""
    return registration(coarser(moving, scales), coarser(fixed, scales)).float()


def finer(flow: Tensor, scales: Scales, shape: tuple[int, ...]) -> Tensor:
    """A field of :func:`coarse_displacement` at full resolution: (N, 3, *shape) in voxels."""
    if max(scales) == 1:
        return flow
    flow = resize_flow(flow, [size * scale for size, scale in zip(flow.shape[2:], scales)])
    return flow[:, :, : shape[0], : shape[1], : shape[2]]


def segmentation_step(
    segmentation: SegmentationNet,
    teacher: Network | None,
    registration: RegistrationNet,
    triple: Triple,
    settings: Settings,
    generator: torch.Generator,
) -> Losses:
    """L_S of a triple: a sample generated by S3P, and MMR on a mixture.

    Args:
        teacher: S with averaged weights; it gives the targets of the mixture without gradient, from the scans in
            other sizes (see :mod:`brbs.teacher`). None: S itself, with gradient, as published.
    """
    alpha, beta = draw_path(settings.sampling, generator).to(triple.scan_1.device)
    gamma = draw_fractions(1, generator)[0].to(triple.scan_1.device)
    with torch.no_grad():
        generated, target, passed, passed_at = generate(registration, triple, alpha, beta, settings)
        mixed = mixture(passed, triple.scan_2, gamma)
        ends = torch.cat([passed, triple.scan_2])
        if settings.augmentation != "published":  # beside samples that lean on S's opinion, one that does not
            generated, target = torch.cat([generated, triple.atlas_image]), torch.cat([target, triple.atlas_onehot])
            seen = random_contrast(torch.cat([generated, mixed]), generator)
            generated, mixed = seen[:-1], seen[-1:]
        target_logits = None if teacher is None else _targets(teacher, triple, ends, passed_at, generator)
    return segmentation_losses(segmentation, generated, target, mixed, ends, gamma, settings, target_logits)


def _targets(
    teacher: Network, triple: Triple, ends: Tensor, passed_at: Tensor | None, generator: torch.Generator
) -> Tensor:
    """The teacher's logits (2, K, D, H, W) of both ends of a mixture."""
    if passed_at is None:
        return teacher(ends).float()
    seen = (triple.scan_1_source.image, passed_at), (triple.scan_2_source.image, triple.positions)
    return torch.cat([opinion(teacher, image, positions, generator) for image, positions in seen])


class Generated(NamedTuple):
    """A sample by S3P, and scan 1 taken over the atlas onto scan 2.

    Attributes:
        image: x_new, (1, 1, D, H, W).
        labels: y_new, (1, K, D, H, W).
        passed: x_uu, (1, 1, D, H, W).
        passed_at: where in scan 1 its voxels lie, (1, 3, D, H, W) in ``grid_sample`` coordinates; None as published,
            which interpolates it anew with each warp.
    """

    image: Tensor
    labels: Tensor
    passed: Tensor
    passed_at: Tensor | None = None


def generate(registration: Network, triple: Triple, alpha: Tensor, beta: Tensor, settings: Settings) -> Generated:
    """S3P's sample and x_uu of a triple, as the settings ask for them.

    Args:
        alpha, beta: fractions of space and style.
    """
    flow_u, flow_l = displacement(
        registration,
        torch.cat([triple.scan_1, triple.atlas_image]),
        torch.cat([triple.atlas_image, triple.scan_2]),
        axis_scales(settings.registration_scale, triple.spacing),
    ).split(1)
    return generate_along(triple, flow_u, flow_l, alpha, beta, settings)


def generate_along(
    triple: Triple, flow_u: Tensor, flow_l: Tensor, alpha: Tensor | float, beta: Tensor | float, settings: Settings
) -> Generated:
    """:func:`generate` with known displacement fields.

    Args:
        flow_u: scan 1 -> atlas, flow_l: atlas -> scan 2, (1, 3, D, H, W) in voxels.
        alpha, beta: fractions of space and style.
    """
    make = generate_published if settings.augmentation == "published" else generate_sharp
    return make(triple, flow_u, flow_l, alpha, beta)


def generate_published(
    triple: Triple, flow_u: Tensor, flow_l: Tensor, alpha: Tensor | float, beta: Tensor | float
) -> Generated:
    """S3P's sample and x_uu by one warp after the other.

    Args:
        flow_u: scan 1 -> atlas, flow_l: atlas -> scan 2, (1, 3, D, H, W) in voxels.
        alpha, beta: fractions of space and style.
    """
    styled = warp(triple.scan_1, flow_u)
    image, labels = space_style_sample(triple.atlas_image, triple.atlas_onehot, styled, flow_l, alpha, beta)
    return Generated(image, labels, warp(styled, flow_l))


def generate_sharp(
    triple: Triple, flow_u: Tensor, flow_l: Tensor, alpha: Tensor | float, beta: Tensor | float
) -> Generated:
    """As :func:`generate_published`, but each scan is interpolated once, not up to three times, and so stays sharp.

    A scan's style brings its own anatomy along where R misaligns; the label map therefore follows S's opinion of the
    scan by the same fraction beta.
    """
    scan_positions = follow(triple.positions, flow_u)
    atlas, scan = triple.atlas_source, triple.scan_1_source
    atlas_there, scan_there = follow(triple.positions, alpha * flow_l), follow(scan_positions, alpha * flow_l)
    pairs = zip(atlas.at(atlas_there), scan.at(scan_there))
    image, labels = (torch.lerp(of_atlas, of_scan, beta) for of_atlas, of_scan in pairs)
    passed_at = follow(scan_positions, flow_l)
    return Generated(image, labels, sample_at(scan.image, passed_at), passed_at)


def segmentation_losses(
    segmentation: Network,
    generated: Tensor,
    target: Tensor,
    mixed: Tensor,
    ends: Tensor,
    gamma: Tensor,
    settings: Settings,
    target_logits: Tensor | None = None,
) -> Losses:
    """L_S with everything S sees in one batch.

    Args:
        generated, target: labeled images (N, 1, D, H, W) and their label maps (N, K, D, H, W).
        mixed: MMR's mixture (1, 1, D, H, W); ends: the two volumes it was mixed from (2, 1, D, H, W).
        target_logits: logits (2, K, D, H, W) for the ends; None: S computes them, gradient included.
    """
    if target_logits is None:
        logits, mixed_logits, target_logits = (
            segmentation(torch.cat([generated, mixed, ends])).float().split([len(target), 1, 2])
        )
    else:
        logits, mixed_logits = segmentation(torch.cat([generated, mixed])).float().split([len(target), 1])
    losses = {
        "segmentation": supervised_loss(logits, target, settings),
        "mix": mix_loss(mixed_logits, target_logits[:1], target_logits[1:], gamma),
    }
    total = losses["segmentation"] + settings.mix_weight * losses["mix"]
    if settings.teaching_weight:
        first, second = target_logits.detach().softmax(1).split(1)
        taught = torch.lerp(second, first, gamma)
        losses["teaching"] = supervised_loss(mixed_logits, taught, settings)
        total = total + settings.teaching_weight * losses["teaching"]
    losses["segmentation_total"] = total
    return losses
