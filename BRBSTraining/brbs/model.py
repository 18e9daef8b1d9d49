"""The model bundle: a folder of JSON and safetensors, nothing executable."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import __version__
from .errors import InputError
from .files import read_json, replacing, write_json
from .grid import WorkingGrid
from .networks import RegistrationNet, SegmentationNet
from .settings import Settings
from .study import LabelSchema

FORMAT = 1
MODEL_FILE = "model.json"


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
    """

    schema: LabelSchema
    grid: WorkingGrid | None
    settings: Settings
    channels: tuple[int, ...]
    segmentation: dict[str, Tensor]
    registration: dict[str, Tensor] | None
    atlas_images: np.ndarray
    atlas_labels: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Writes the bundle; a bundle already there is replaced only once the new one is complete.

        Raises:
            InputError: the folder cannot be written; what was half written is removed.
        """
        folder = Path(folder)
        stem = f"weights-{self.provenance.get('step', 0)}"
        files = {"segmentation": f"segmentation-{stem}.safetensors", "atlases": "atlases.safetensors"}
        _save_tensors(self.segmentation, folder / files["segmentation"])
        if self.registration is not None:
            files["registration"] = f"registration-{stem}.safetensors"
            _save_tensors(self.registration, folder / files["registration"])
        if not (folder / files["atlases"]).exists():
            atlases = {"images": torch.as_tensor(self.atlas_images).half(), "labels": torch.as_tensor(self.atlas_labels)}
            _save_tensors(atlases, folder / files["atlases"])
        write_json(folder / MODEL_FILE, self._description(files))
        for old in folder.glob("*-weights-*.safetensors"):
            if old.name not in files.values():
                old.unlink()

    def _description(self, files: dict[str, str]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "labels": self.schema.to_json(),
            "grid": None if self.grid is None else self.grid.to_json(),
            "channels": list(self.channels),
            "settings": self.settings.to_json(),
            "provenance": self.provenance | {"versions": versions()},
            "files": files,
        }

    @classmethod
    def load(cls, folder: Path) -> ModelBundle:
        """Reads a bundle onto the CPU.

        Raises:
            InputError: no bundle there, a newer format, or a damaged file.
        """
        folder = Path(folder)
        description = read_description(folder)
        try:
            files = {key: folder / Path(name).name for key, name in description["files"].items()}
            atlases = load_file(files["atlases"])
            return cls(
                schema=LabelSchema.from_json(description["labels"]),
                grid=WorkingGrid.from_json(description["grid"]) if description["grid"] else None,
                settings=Settings.from_json(description["settings"]),
                channels=tuple(description["channels"]),
                segmentation=load_file(files["segmentation"]),
                registration=load_file(files["registration"]) if "registration" in files else None,
                atlas_images=atlases["images"].float().numpy(),
                atlas_labels=atlases["labels"].numpy(),
                provenance=description["provenance"],
            )
        except (KeyError, TypeError, OSError, SafetensorError) as error:
            raise InputError(f"{folder}: this model is damaged ({error}); copy it again or train anew") from error

    def segmentation_net(self) -> SegmentationNet:
        """S with its weights, ready to predict."""
        network = SegmentationNet(self.schema.class_count, self.channels)
        network.load_state_dict(self.segmentation)
        return network.eval().requires_grad_(False)

    def registration_net(self) -> RegistrationNet:
        """R with its weights.

        Raises:
            InputError: the bundle holds none.
        """
        if self.registration is None:
            raise InputError("this model has no registration network; train it with BRBS or import Reger weights too")
        network = RegistrationNet(self.channels)
        network.load_state_dict(self.registration)
        return network.eval().requires_grad_(False)


def read_description(folder: Path) -> dict[str, Any]:
    """``model.json`` of a bundle, checked for its format.

    Raises:
        InputError: no bundle there, unreadable, or a newer format.
    """
    path = Path(folder) / MODEL_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no model here ({MODEL_FILE} is missing); give the folder that training wrote")
    return read_json(path, newest_format=FORMAT)


def versions() -> dict[str, str]:
    """Versions of what the model was made with."""
    return {"brbs": __version__, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    with replacing(path) as aside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside)


def import_release_weights(path: Path) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """Reads a checkpoint of the original release (``Reger_*.pth`` or ``Seger_*.pth``, a plain state dict).

    Returns:
        The state dict, which our networks load as it is, and the widths of its U-Net.

    Raises:
        InputError: not a state dict, or not of this network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        levels = sum(1 for name in state if name.startswith("unet.down") and name.endswith("double_conv.0.weight"))
        blocks = [f"unet.down{level}.maxpool_conv.1" for level in range(1, levels + 1)]
        blocks = ["unet.inc", *blocks, *(f"unet.up{level}.conv" for level in range(1, levels + 1))]
        channels = tuple(state[f"{block}.double_conv.0.weight"].shape[0] for block in blocks)
        state["out_conv.weight"].shape  # noqa: B018 - a KeyError tells that it is another network
    except Exception as error:  # torch.load raises whatever the bytes make it raise
        raise InputError(
            f"{path}: not a checkpoint of the BRBS release ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "expected a plain state dict such as Seger_*.pth"
        ) from error
    return state, channels
