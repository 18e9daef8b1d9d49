"""The 3-D U-Net that registers and segments (paper section III, figure 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .anisotropy import Strides
from .group_norm import GroupNorm

SPARING_VOXELS = 24**3  # of a volume from which on it goes through a block alone where memory is to be spared


class Convolution(nn.Conv3d):
    """3x3x3 convolution with zeros beyond the edges."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, C', D, H, W)."""
        return convolved(x, self.weight, self.bias)


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What :class:`Convolution` computes, (N, C, D, H, W) to (N, C', D, H, W)."""
    if x.device.type == "cpu" and x.shape[2] == 2:
        # In bfloat16, oneDNN's gradient of the weights takes in foreign memory where there are just two planes: NaN, or
        # numbers of any size. A third one of zeros, which lie there anyway, changes nothing else.
        three = F.conv3d(F.pad(x, (0, 0, 0, 0, 0, 1)), weight, bias, padding=1)
        return three[:, :, :2].contiguous(memory_format=torch.channels_last_3d)
    return F.conv3d(x, weight, bias, padding=1)


class DoubleConvolution(nn.Module):
    """Twice: 3x3x3 convolution, group normalisation with groups of 4 channels, leaky ReLU 0.2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        groups = max(1, out_channels // 4)
        self.double_conv = nn.Sequential(
            Convolution(in_channels, out_channels),
            GroupNorm(groups, out_channels),
            nn.LeakyReLU(0.2, inplace=True),
            Convolution(out_channels, out_channels),
            GroupNorm(groups, out_channels),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, C', D, H, W)."""
        return self.double_conv(x)


class Down(nn.Module):
    """Halves the resolution by max pooling along the axes whose stride is 2, odd ones rounded up, then convolves."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        pooling = nn.MaxPool3d(stride, ceil_mode=True)
        self.maxpool_conv = nn.Sequential(pooling, DoubleConvolution(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to (N, C', ...), with half as many voxels along the axes whose stride is 2."""
        return self.maxpool_conv(x)


class Up(nn.Module):
    """Undoes a level's strides by trilinear interpolation, joins the skip connection, then convolves."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.conv = DoubleConvolution(in_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Level below (N, C, d, h, w) and skip connection (N, S, D, H, W) to (N, C', D, H, W)."""
        if x.device.type != "cpu":
            x = F.interpolate(x, scale_factor=self.stride, mode="trilinear", align_corners=True)
            return self.conv(torch.cat([skip, _first_voxels(x, skip)], dim=1))
        # The same sums in another order: a CPU convolves two narrow volumes faster than a wide one, copies included.
        first, *rest = self.conv.double_conv
        over_skip, over_x = first.weight.split([skip.shape[1], x.shape[1]], dim=1)
        doubled = _first_voxels(double_size(x, self.stride), skip).contiguous(memory_format=torch.channels_last_3d)
        joined = convolved(skip, over_skip, first.bias) + convolved(doubled, over_x)
        for layer in rest:
            joined = layer(joined)
        return joined


def _first_voxels(x: Tensor, like: Tensor) -> Tensor:
    """As many voxels along each axis as another volume has; a voxel more is what doubling makes of an odd axis."""
    depth, height, width = like.shape[2:]
    return x[:, :, :depth, :height, :width]


def double_size(x: Tensor, stride: tuple[int, int, int] = (2, 2, 2)) -> Tensor:
    """Trilinear x2 with corners kept, as matrix products: on a CPU several times faster than ``interpolate``.

    Args:
        x: (N, C, D, H, W), fastest in channels-last layout.
        stride: 2 for an axis that is doubled, 1 for one that stays.

    Returns:
        (N, C, 2 D, 2 H, 2 W) if all are doubled, channels last.
    """
    n, c, *shape = x.shape
    x = x.permute(0, 2, 3, 4, 1)
    for axis in (2, 1, 0):  # the last first: the largest product is then one large matrix product
        if stride[axis] == 1:
            continue
        size = shape[axis]
        before = n * math.prod(shape[:axis])
        after = c * math.prod(shape[axis + 1 :])
        x = _doubling(size, x.dtype) @ x.reshape(before, size, after)
        shape[axis] = 2 * size
    return x.reshape(n, *shape, c).permute(0, 4, 1, 2, 3)


@lru_cache(maxsize=64)
def _doubling(size: int, dtype: torch.dtype) -> Tensor:
    """(2 size, size) matrix of linear interpolation with corners kept."""
    unit = torch.eye(size)[None]
    return F.interpolate(unit, size=2 * size, mode="linear", align_corners=True)[0].T.contiguous().to(dtype)


class UNet(nn.Module):
    """U-Net features at input resolution.

    Parameter names are those of the original release (``inc``, ``down1``, ..., ``up1``, ...), so that its
    checkpoints load as they are.

    Args:
        in_channels: channels of the input volume.
        channels: widths of the blocks in the order they are passed: first block, each level down, each level up.
            Its length is odd: ``2 * levels + 1``.
        strides: 2 or 1 for each axis (D, H, W), level by level down; None: 2 for all and volumes padded with zeros
            until they can be halved so often, as published. Else odd axes are rounded up at each level, which spares
            up to a third of the work.

    Attributes:
        sparing: keep the blocks' ends alone for the backward pass and compute what lies between anew, volume by
            volume: a third to half of the memory, a third more time on a CPU and twice the time or more on a GPU,
            the same gradients up to rounding.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], strides: Strides | None = None) -> None:
        super().__init__()
        if len(channels) % 2 == 0 or len(channels) < 3:
            raise ValueError(f"channels needs an odd number of widths, at least 3; got {tuple(channels)}")
        self.levels = len(channels) // 2
        self.multiples = (2**self.levels if strides is None else 1,) * 3
        strides = ((2, 2, 2),) * self.levels if strides is None else strides
        self.sparing = False
        self.inc = DoubleConvolution(in_channels, channels[0])
        for level in range(1, self.levels + 1):
            self.add_module(f"down{level}", Down(channels[level - 1], channels[level], strides[level - 1]))
        for level in range(1, self.levels + 1):
            below = channels[self.levels + level - 1]
            skip = channels[self.levels - level]
            width = channels[self.levels + level]
            self.add_module(f"up{level}", Up(below + skip, width, strides[self.levels - level]))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, D, H, W) to (N, channels[-1], D, H, W); any size is accepted."""
        x, margins = pad_to_multiple(x, self.multiples)
        skips = [self._through("inc", x)]
        for level in range(1, self.levels + 1):
            skips.append(self._through(f"down{level}", skips[-1]))
        x = skips.pop()
        for level in range(1, self.levels + 1):
            x = self._through(f"up{level}", x, skips.pop())
        return crop_margins(x, margins)

    def _through(self, name: str, *volumes: Tensor) -> Tensor:
        block = self.get_submodule(name)
        if not (self.sparing and torch.is_grad_enabled()):
            return block(*volumes)
        # Volume by volume where they are large; small ones are slow by themselves on a CPU.
        count = 1 if volumes[0][0, 0].numel() > SPARING_VOXELS else len(volumes[0])
        parts = zip(*(volume.split(count) for volume in volumes))
        return torch.cat([checkpoint(block, *part, use_reentrant=False) for part in parts])


def pad_to_multiple(x: Tensor, multiples: Sequence[int]) -> tuple[Tensor, tuple[int, ...]]:
    """Pads the three spatial axes symmetrically with zeros up to a multiple, given for each.

    Returns:
        The padded tensor and its margins in the order of ``torch.nn.functional.pad`` (last axis first).
    """
    margins: list[int] = []
    for size, multiple in zip(reversed(x.shape[2:]), reversed(multiples)):
        missing = -size % multiple
        margins += [missing // 2, missing - missing // 2]
    return (F.pad(x, margins) if any(margins) else x), tuple(margins)


def crop_margins(x: Tensor, margins: Sequence[int]) -> Tensor:
    """Takes away what :func:`pad_to_multiple` added."""
    return F.pad(x, [-margin for margin in margins]) if any(margins) else x


class RegistrationNet(nn.Module):
    """R: a displacement field from a pair of scans."""

    def __init__(self, channels: Sequence[int], strides: Strides | None = None) -> None:
        super().__init__()
        self.unet = UNet(2, channels, strides)
        self.out_conv = nn.Conv3d(channels[-1], 3, kernel_size=1)
        initialise(self)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Registers ``moving`` to ``fixed``, both (N, 1, D, H, W) in [0, 1].

        Returns:
            Displacement field (N, 3, D, H, W) in voxels, channels in (D, H, W) order; it pulls back:
            warped(p) = moving(p + field(p)).
        """
        return self.out_conv(self.unet(torch.cat([fixed, moving], dim=1)))


class SegmentationNet(nn.Module):
    """S: class logits (N, K, D, H, W) from a scan (N, 1, D, H, W) in [0, 1]."""

    def __init__(self, classes: int, channels: Sequence[int], strides: Strides | None = None) -> None:
        super().__init__()
        self.unet = UNet(1, channels, strides)
        self.out_conv = nn.Conv3d(channels[-1], classes, kernel_size=1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, K, D, H, W) of a scan (N, 1, D, H, W)."""
        return self.out_conv(self.unet(image))


def initialise(network: nn.Module) -> None:
    """Kaiming-normal convolution weights, as in the original release."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
