"""The model bundle: a folder of JSON and safetensors, nothing executable."""

from __future__ import annotations

import contextlib
import platform
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import __version__
from .anisotropy import Strides
from .bundle_file import check_bundle
from .errors import InputError
from .files import replacing, write_json
from .grid import WorkingGrid
from .label_schema import LabelSchema
from .model_description import FORMAT, MODEL_FILE, read_description
from .networks import RegistrationNet, SegmentationNet
from .overview import Overview
from .settings import Settings


@dataclass
class ModelBundle:
    """All that is needed to segment a scan, to register it with the atlases and to say where the model comes from.

    Attributes:
        schema: the structures, in class order.
        grid: the working grid.
        settings: those of the training.
        channels: widths of the U-Nets.
        segmentation: S's state dict.
        registration: R's state dict, or None for an imported S alone.
        atlas_images: (A, D, H, W) float16 in [0, 1] on the working grid; A may be 0.
        atlas_labels: (A, D, H, W) uint8 class indices.
        provenance: atlas names, steps, metrics, versions: JSON values.
        strides: of the U-Nets, see :class:`brbs.networks.UNet`.
        overview: of the first atlas, where scans are registered and the grid shows only a part of them.
    """

    schema: LabelSchema
    grid: WorkingGrid
    settings: Settings
    channels: tuple[int, ...]
    segmentation: dict[str, Tensor]
    registration: dict[str, Tensor] | None
    atlas_images: np.ndarray
    atlas_labels: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)
    strides: Strides | None = None
    overview: Overview | None = None

    def save(self, folder: Path) -> None:
        """Writes the bundle; a bundle already there is replaced only once the new one is complete.

        Raises:
            InputError: the folder cannot be written; what was half written is removed.
        """
        folder = Path(folder)
        atlases = {"images": torch.as_tensor(self.atlas_images).half(), "labels": torch.as_tensor(self.atlas_labels)}
        if self.overview is not None:
            atlases["overview"] = torch.as_tensor(self.overview.volume).half()
        parts = {"segmentation": self.segmentation, "registration": self.registration, "atlases": atlases}
        files = {name: _save_tensors(part, folder, name) for name, part in parts.items() if part is not None}
        write_json(folder / MODEL_FILE, self._description(files))
        for name in parts:
            for old in folder.glob(f"{name}-????????.safetensors"):
                if old.name not in files.values():
                    with contextlib.suppress(OSError):  # a file that another process reads stays on Windows
                        old.unlink()

    def _description(self, files: dict[str, str]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "labels": self.schema.to_json(),
            "grid": self.grid.to_json(),
            "channels": list(self.channels),
            "strides": None if self.strides is None else [list(step) for step in self.strides],
            "settings": self.settings.to_json(),
            "provenance": self.provenance | {"versions": versions()},
            "overview": self.overview and self.overview.to_json(),
            "files": files,
        }

    @classmethod
    def load(cls, folder: Path) -> ModelBundle:
        """Reads a bundle onto the CPU.

        Raises:
            InputError: no bundle there, a newer format, or a damaged file.
        """
        folder = Path(folder)
        check_bundle(folder)
        description = read_description(folder)
        try:
            files = {part: folder / Path(name).name for part, name in description["files"].items()}
            tensors = {part: load(path.read_bytes()) for part, path in files.items()}
            bundle = cls(
                schema=LabelSchema.from_json(description["labels"]),
                grid=WorkingGrid.from_json(description["grid"]),
                settings=Settings.from_json(description["settings"]),
                channels=tuple(description["channels"]),
                segmentation=tensors["segmentation"],
                registration=tensors.get("registration"),
                atlas_images=tensors["atlases"]["images"].float().numpy(),
                atlas_labels=tensors["atlases"]["labels"].numpy(),
                provenance=description["provenance"],
                strides=_strides(description.get("strides")),  # not in older models
                overview=_overview(description.get("overview"), tensors["atlases"]),
            )
            bundle._check_atlases()
            return bundle
        except (KeyError, TypeError, ValueError, AttributeError, OSError, SafetensorError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{folder}: this model is damaged ({reason}); copy it again or train anew") from error

    def _check_atlases(self) -> None:
        """Whether the atlases lie on the grid, hold no classes but the structures, and are there if scans need them."""
        expected = (len(self.atlas_images), *self.grid.shape)
        if not self.atlas_images.shape == self.atlas_labels.shape == expected or self.atlas_labels.dtype != np.uint8:
            raise ValueError("its atlases do not fit the working grid")
        if len(self.provenance.get("atlases", [])) not in (0, len(self.atlas_images)):
            raise ValueError("it names more or fewer atlases than it holds")
        if self.grid.alignment == "affine" and self.overview is None and not len(self.atlas_images):
            raise ValueError("it aligns scans to an atlas and holds none")
        if self.atlas_labels.size and self.atlas_labels.max() >= self.schema.class_count:
            raise ValueError("its atlases have structures that it does not name")

    @property
    def reference(self) -> sitk.Image | None:
        """What scans are registered to when they are placed, if they are: the first atlas, or its overview."""
        if self.grid.alignment != "affine":
            return None
        return self.grid.image(self.atlas_images[0]) if self.overview is None else self.overview.image

    def segmentation_net(self) -> SegmentationNet:
        """S with its weights, ready to predict.

        Raises:
            InputError: the weights do not fit the structures and widths.
        """
        classes = self.schema.class_count
        return _with_weights(lambda: SegmentationNet(classes, self.channels, self.strides), self.segmentation)

    def registration_net(self) -> RegistrationNet:
        """R with its weights, ready to predict.

        Raises:
            InputError: the bundle holds none, or they do not fit the widths.
        """
        if self.registration is None:
            raise InputError("this model has no registration network; train it with BRBS or import Reger weights too")
        return _with_weights(lambda: RegistrationNet(self.channels, self.strides), self.registration)


def _strides(steps: list[list[int]] | None) -> Strides | None:
    return None if steps is None else tuple(map(tuple, steps))


def _overview(place: dict[str, Any] | None, atlases: dict[str, Tensor]) -> Overview | None:
    return None if place is None else Overview.from_json(place, atlases["overview"].float().numpy())


def versions() -> dict[str, str]:
    """Versions of what the model was made with."""
    modules = {"torch": torch.__version__, "numpy": np.__version__}
    return {"brbs": __version__, **modules, "python": platform.python_version()}


def _with_weights(make: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> Any:
    """A network that takes the weights as they are; nothing is allocated for those that it would need."""
    with torch.device("meta"), _Undrawn():
        network = make()
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"this model's weights do not fit its description ({reason}); copy it again") from error
    return network.eval().requires_grad_(False)


class _Undrawn(TorchFunctionMode):
    """Leaves out the draws of first weights, which on tensors without memory import PyTorch's compiler: seconds."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return args[0] if func is Tensor.normal_ else func(*args, **(kwargs or {}))


def _save_tensors(tensors: Mapping[str, Tensor], folder: Path, part: str) -> str:
    """Writes a file whose name tells its content, so that no description ever points to other tensors than its own.

    Returns:
        The file's name, such as ``atlases-0a1b2c3d.safetensors``.
    """
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    path = folder / f"{part}-{zlib.crc32(content):08x}.safetensors"
    if not (path.is_file() and path.stat().st_size == len(content)):
        with replacing(path) as aside:
            aside.write_bytes(content)
    return path.name
