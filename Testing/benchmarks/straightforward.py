"""The training step written down straightforwardly: what the fast step is measured against.

Every formula of the paper as it reads: dense 9x9x9 convolutions for LNCC, the sampling grid rebuilt for every warp, one
network pass after the other, float32, the default memory layout. The networks are the engine's own, each level up as
the release writes it (:func:`go_up`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def go_up(self, x: Tensor, skip: Tensor) -> Tensor:
    """``forward`` of a level up of the U-Net."""
    x = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
    return self.conv(torch.cat([skip, x], dim=1))


def warp(volume: Tensor, flow: Tensor) -> Tensor:
    shape = flow.shape[2:]
    grid = torch.stack(torch.meshgrid(*[torch.arange(size) for size in shape], indexing="ij")).unsqueeze(0).float()
    place = grid + flow
    place = torch.stack([2 * place[:, i] / (shape[i] - 1) - 1 for i in range(3)], dim=-1)[..., [2, 1, 0]]
    return F.grid_sample(volume, place, mode="bilinear", align_corners=True)


def lncc(a: Tensor, b: Tensor) -> Tensor:
    kernel = torch.ones(1, 1, 9, 9, 9)
    size = 9**3

    def total(x: Tensor) -> Tensor:
        return F.conv3d(x, kernel, padding=4)

    sum_a, sum_b, sum_aa, sum_bb, sum_ab = total(a), total(b), total(a * a), total(b * b), total(a * b)
    mean_a, mean_b = sum_a / size, sum_b / size
    cross = sum_ab - mean_b * sum_a - mean_a * sum_b + mean_a * mean_b * size
    variance_a = sum_aa - 2 * mean_a * sum_a + mean_a * mean_a * size
    variance_b = sum_bb - 2 * mean_b * sum_b + mean_b * mean_b * size
    return (cross * cross / (variance_a * variance_b + 1e-5)).mean()


def smoothness(flow: Tensor) -> Tensor:
    d = (flow[:, :, 1:] - flow[:, :, :-1]) ** 2
    h = (flow[:, :, :, 1:] - flow[:, :, :, :-1]) ** 2
    w = (flow[..., 1:] - flow[..., :-1]) ** 2
    return (d.mean() + h.mean() + w.mean()) / 3


def dice(a: Tensor, b: Tensor) -> Tensor:
    overlap = 2 * (a * b).sum((2, 3, 4)) + 1
    return 1 - (overlap / ((a * a).sum((2, 3, 4)) + (b * b).sum((2, 3, 4)) + 1)).mean()


def registration_loss(registration, segmentation, atlas: Tensor, onehot: Tensor, scan: Tensor) -> Tensor:
    """L_R of the pair (atlas, scan)."""
    flow, back = registration(atlas, scan), registration(scan, atlas)
    with torch.no_grad():
        scan_labels = segmentation(scan).softmax(1)
    smooth = smoothness(flow) + smoothness(back)
    similarity = (1 - lncc(warp(atlas, flow), scan)) + (1 - lncc(warp(scan, back), atlas))
    inverse = ((-warp(flow, flow) - back) ** 2).mean()
    consistency = dice(warp(onehot, flow), scan_labels) + dice(warp(scan_labels, back), onehot)
    return smooth + similarity + 100 * consistency + 0.1 * inverse


def segmentation_loss(
    registration, segmentation, atlas: Tensor, onehot: Tensor, scan_1: Tensor, scan_2: Tensor, alpha, beta, gamma
) -> Tensor:
    """L_S of a triple at the drawn fractions."""
    with torch.no_grad():
        flow_u, flow_l = registration(scan_1, atlas), registration(atlas, scan_2)
        styled = warp(scan_1, flow_u)
        generated = warp(atlas + beta * (styled - atlas), alpha * flow_l)
        target = warp(onehot, alpha * flow_l)
        passed = warp(styled, flow_l)
        mixed = gamma * passed + (1 - gamma) * scan_2
    loss = dice(segmentation(generated).softmax(1), target)
    mixed_target = gamma * segmentation(passed) + (1 - gamma) * segmentation(scan_2)
    return loss + 0.01 * ((segmentation(mixed) - mixed_target) ** 2).mean()
