"""Every setting of a study, its default and its meaning, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .errors import InputError


def _setting(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """How scans are brought onto the working grid and how the two networks are trained."""

    # Working grid
    spacing: tuple[float, float, float] | None = _setting(None, "voxel edges of the working grid in mm, x y z; none: median of the atlases")
    alignment: str = _setting("auto", "how scans are placed over the first atlas", ("auto", "none", "center-of-mass", "affine"))
    region: str = _setting("whole", "part of the scans worked on: all, or the box around the atlases' labels", ("whole", "labels"))
    region_margin: float = _setting(10.0, "margin around the labels in mm when region is 'labels'")
    intensity: str = _setting("percentiles", "grey values mapped to 0..1: robust percentiles, or a fixed window (CT)", ("percentiles", "window"))
    percentiles: tuple[float, float] = _setting((0.5, 99.5), "percentiles mapped to 0 and 1")
    window: tuple[float, float] = _setting((0.0, 2048.0), "grey values mapped to 0 and 1 when intensity is 'window'")

    # Networks
    channels: tuple[int, ...] | None = _setting(None, "widths of the U-Net's blocks, down and up; none: 16, doubled at each of 2 to 4 levels that the grid has room for")
    registration_scale: int = _setting(2, "the registration network works on volumes this many times coarser")

    # Training
    seed: int = _setting(0, "seed of every random draw")
    segmentation_share: float = _setting(0.2, "share of the training spent first on the segmentation network with augmented atlases")
    registration_share: float = _setting(0.2, "share spent then on the registration network alone")
    learning_rate: float = _setting(1e-3, "highest learning rate of both networks")
    final_learning_rate: float = _setting(1e-5, "learning rate at the end of the cosine schedule")
    averaging: float = _setting(0.999, "decay of the running average of the segmentation network's weights; 0: none")
    smoothness_weight: float = _setting(1.0, "weight of the displacement field's smoothness")
    consistency_weight: float = _setting(3.0, "weight of the knowledge consistency constraint (KCC)")
    inverse_weight: float = _setting(0.1, "weight of the inverse consistency")
    mix_weight: float = _setting(0.01, "weight of the mix misalignment regularisation (MMR), on logits")
    teaching_weight: float = _setting(0.5, "weight of Dice and cross entropy against the averaged network's output on the mixture")
    cross_entropy_weight: float = _setting(1.0, "weight of the cross entropy beside the Dice loss")
    augmentation: str = _setting("full", "rotation and scale as published, or also bending and contrast", ("published", "full"))

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values; tuples become lists."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Settings from :meth:`to_json`'s values; what is missing takes its default.

        Raises:
            InputError: a name that is no setting.
        """
        unknown = set(values) - {item.name for item in fields(cls)}
        if unknown:
            raise InputError(f"unknown setting {', '.join(sorted(unknown))}; this version of BRBS does not know it")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


BALANCED = Settings()
PAPER = replace(
    BALANCED,
    channels=(16, 32, 64, 128, 256, 128, 64, 32, 16),
    registration_scale=1,
    segmentation_share=0.0,
    registration_share=0.0,
    learning_rate=1e-4,
    final_learning_rate=1e-4,
    averaging=0.0,
    consistency_weight=100.0,
    teaching_weight=0.0,
    cross_entropy_weight=0.0,
    augmentation="published",
)
PRESETS = {"balanced": BALANCED, "paper": PAPER}
