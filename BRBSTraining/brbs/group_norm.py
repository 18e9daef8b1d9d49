"""Group normalisation whose backward pass is fast in bfloat16 on a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

ROW = 2048  # numbers of a row below: long enough for vector instructions, short enough for the cache


class GroupNorm(nn.GroupNorm):
    """As :class:`torch.nn.GroupNorm`.

    On a CPU, PyTorch's own backward pass in bfloat16 goes through groups of four channels number by number, which takes
    a quarter to a third of a training step where the processor has instructions for it; the same sums over long rows
    take about a fifth of that time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...), any number of axes, to the same shape."""
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:  # float16 has too small a range for the sums
            return _GroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        return super().forward(x)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        count, channels, voxels = len(x), x.shape[1], math.prod(x.shape[2:])
        y, mean, rstd = torch.native_group_norm(x, weight, bias, count, channels, voxels, groups, eps)
        ctx.save_for_backward(x, weight, mean.float(), rstd.float())
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor):
        """With y = (x - mean) rstd weight + bias, dx = rstd weight dy + slope x + offset, the last two by group."""
        x, weight, mean, rstd = ctx.saved_tensors
        count, channels = x.shape[:2]
        rows, rows_dy = _rows(x), _rows(gradient)
        sum_dy = rows_dy.sum(1).float().view(count, -1, channels).sum(1)
        sum_x_dy = (rows * rows_dy).sum(1).float().view(count, -1, channels).sum(1)

        mean, rstd = mean.unsqueeze(-1), rstd.unsqueeze(-1)  # (N, G, 1); the rest as (N, G, C / G)
        weight = weight.view(1, mean.shape[1], -1)
        sum_dy, sum_x_dy = (part.view(count, *weight.shape[1:]) for part in (sum_dy, sum_x_dy))
        total, total_x = ((part * weight).sum(-1, keepdim=True) for part in (sum_dy, sum_x_dy))
        numbers = x[0].numel() / mean.shape[1]
        slope = (total * mean - total_x) * rstd**3 / numbers
        offset = -slope * mean - total * rstd / numbers

        offset, slope, factor = (
            part.expand_as(sum_dy).reshape(count, 1, channels).repeat(1, 1, rows.shape[-1] // channels).to(x.dtype)
            for part in (offset, slope, rstd * weight)
        )
        dx = torch.addcmul(offset, rows, slope).addcmul_(rows_dy, factor)
        d_weight = ((sum_x_dy - sum_dy * mean) * rstd).sum(0).flatten()
        return _volume(dx, x.shape), d_weight, sum_dy.sum(0).flatten(), None, None


def _rows(x: Tensor) -> Tensor:
    """(N, C, ...) as rows (N, -1, R C) of R voxels, channels last: a view where that is how they lie in memory."""
    voxels = math.prod(x.shape[2:])
    repeats = math.gcd(voxels, max(1, ROW // x.shape[1]))
    return x.movedim(1, -1).reshape(len(x), voxels // repeats, repeats * x.shape[1])


def _volume(rows: Tensor, shape: torch.Size) -> Tensor:
    """Undoes :func:`_rows`."""
    return rows.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
