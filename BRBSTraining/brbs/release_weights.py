"""Import of the original release's checkpoints: ``Seger_*.pth`` and ``Reger_*.pth``, plain state dicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .errors import InputError
from .grid import WorkingGrid
from .label_schema import LabelSchema
from .model import ModelBundle
from .networks import RegistrationNet, SegmentationNet
from .settings import PAPER


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and what it tells of its network.

    Attributes:
        weights: parameters under the release's names, float32.
        channels: widths of the U-Net, see :class:`brbs.networks.UNet`.
        inputs: 1 for a segmentation network (the scan), 2 for a registration network (the pair).
        outputs: classes, background included, or 3 for a displacement.
    """

    weights: dict[str, Tensor]
    channels: tuple[int, ...]
    inputs: int
    outputs: int


def import_release(
    segmentation_path: str | Path,
    registration_path: str | Path | None,
    size: Sequence[int],
    spacing: Sequence[float],
    window: Sequence[float] | None = None,
) -> ModelBundle:
    """Makes a model of the release's checkpoints; structures are called ``Label 1``, ``Label 2``, ...

    Args:
        segmentation_path: ``Seger_*.pth``.
        registration_path: ``Reger_*.pth``, or None.
        size: voxels of the training volumes, (x, y, z).
        spacing: their voxel edges in mm, (x, y, z).
        window: grey values that training mapped to 0 and 1; none: 0 and 2048 as in the release.

    Raises:
        InputError: a file is missing, no state dict or of the wrong network; the two differ in their widths; a size,
            spacing or window that cannot be.
    """
    grid = _grid(size, spacing, PAPER.window if window is None else window)
    segmentation = read_checkpoint(segmentation_path)
    if segmentation.inputs != 1 or segmentation.outputs < 2:
        raise _wrong_kind(segmentation_path, "segmentation (Seger)", segmentation)
    _check_fit(SegmentationNet(segmentation.outputs, segmentation.channels), segmentation, segmentation_path)
    registration = None
    if registration_path is not None:
        registration = read_checkpoint(registration_path)
        if (registration.inputs, registration.outputs) != (2, 3):
            raise _wrong_kind(registration_path, "registration (Reger)", registration)
        if registration.channels != segmentation.channels:
            raise InputError(
                f"{registration_path}: has U-Net widths {registration.channels}, but {segmentation_path} has "
                f"{segmentation.channels}; give two checkpoints of the same training"
            )
        _check_fit(RegistrationNet(registration.channels), registration, registration_path)
    sources = [Path(path).name for path in (segmentation_path, registration_path) if path is not None]
    return ModelBundle(
        schema=LabelSchema.from_values(range(1, segmentation.outputs)),
        grid=grid,
        settings=replace(
            PAPER, channels=segmentation.channels, spacing=grid.spacing, intensity=grid.intensity, window=grid.window
        ),
        channels=segmentation.channels,
        segmentation=segmentation.weights,
        registration=None if registration is None else registration.weights,
        atlas_images=np.zeros((0, *grid.shape), np.float32),
        atlas_labels=np.zeros((0, *grid.shape), np.uint8),
        provenance={"imported_from": sources, "atlases": []},
    )


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint of the release, also one saved from ``DataParallel`` (names that begin with ``module.``).

    Raises:
        InputError: no such file, no plain state dict, not of a network of the release, or an old PyTorch.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    if torch.__version__ < (2, 6):  # CVE-2025-32434
        version = f"PyTorch {torch.__version__}"
        raise InputError(f"{path}: {version} might run what is hidden in it; import it with 2.6 or newer")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        weights = {name.removeprefix("module."): tensor.float() for name, tensor in state.items()}
        levels = sum(name.startswith("unet.down") and name.endswith("double_conv.0.weight") for name in weights)
        numbers = range(1, levels + 1)
        blocks = ["inc", *(f"down{n}.maxpool_conv.1" for n in numbers), *(f"up{n}.conv" for n in numbers)]
        firsts = [weights[f"unet.{block}.double_conv.0.weight"] for block in blocks]
        channels = tuple(int(weight.shape[0]) for weight in firsts)
        return Checkpoint(weights, channels, int(firsts[0].shape[1]), int(weights["out_conv.weight"].shape[0]))
    except Exception as error:  # torch.load raises whatever the bytes make it raise
        remedy = "give a plain state dict such as Seger_*.pth"
        raise InputError(f"{path}: not a checkpoint of the BRBS release; {remedy}") from error


def _wrong_kind(path: str | Path, expected: str, found: Checkpoint) -> InputError:
    return InputError(
        f"{path}: not a {expected} network, it maps {found.inputs} input channel(s) to {found.outputs}; "
        "were the two files swapped?"
    )


def _check_fit(network: nn.Module, checkpoint: Checkpoint, path: str | Path) -> None:
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path}: not a network of the BRBS release ({reason})") from error


def _grid(size: Sequence[int], spacing: Sequence[float], window: Sequence[float]) -> WorkingGrid:
    if min(size) < 2:
        raise InputError(f"size {tuple(size)}: each of x, y, z must be at least 2 voxels")
    if not all(math.isfinite(edge) and edge > 0 for edge in spacing):
        raise InputError(f"spacing {tuple(spacing)}: each of x, y, z must be more than 0 mm")
    low, high = (float(value) for value in window)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"window {low:g} {high:g}: the second grey value must be the higher one")
    grid = WorkingGrid(
        size=tuple(int(count) for count in size),
        spacing=tuple(float(edge) for edge in spacing),
        intensity="window",
        window=(low, high),
    )
    return WorkingGrid.from_json(grid.to_json())  # which refuses what no model may have
