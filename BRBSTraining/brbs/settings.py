"""Every setting of a study, its default and its meaning, in one place."""

from __future__ import annotations

import math
import types
import typing
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .errors import InputError

MOST_WIDTHS, LARGEST_WIDTH = 17, 4096  # of a U-Net: 8 levels
COARSE_STEPS = 500  # after which coarse volumes have no more to give
ALONE_STEPS = 2000  # of S on the atlases, after which they have no more to give
REGISTRATION_STEPS = 1000  # of R alone, after which it learns as well beside S
LATEST_TOGETHER = 0.85  # of the training: both teach each other from there on, however few steps there were
PATH_CONCENTRATION = 0.3  # alpha, beta, gamma ~ Beta(0.3, 0.3): most draws lie near an end of the path


def _setting(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """How scans are brought onto the working grid and how the two networks are trained.

    Raises:
        InputError: a value of the wrong type or out of range.
    """

    # Working grid
    spacing: tuple[float, float, float] | None = _setting(
        None, "voxel edges of the working grid in mm, x y z; none: median of the atlases"
    )
    alignment: str = _setting(
        "auto", "how scans are placed over the first atlas", ("auto", "none", "center-of-mass", "affine")
    )
    region: str = _setting(
        "auto",
        "part of the scans worked on: all, or the box around the atlases' labels; auto: that box, with 20 mm and more"
        " to spare, where memory or time limit ask for coarser voxels and it lets them have a fifth of the volume or"
        " less; scans are registered then",
        ("auto", "whole", "labels"),
    )
    region_margin: float = _setting(10.0, "margin around the labels in mm when region is 'labels'; auto has its own")
    intensity: str = _setting(
        "auto",
        "grey values mapped to 0..1: by percentiles of each scan or a fixed window; auto: where the atlases are CT, a "
        "window around the structures' values, else percentiles",
        ("auto", "percentiles", "window"),
    )
    percentiles: tuple[float, float] = _setting((0.5, 99.5), "percentiles mapped to 0 and 1")
    window: tuple[float, float] = _setting((0.0, 2048.0), "grey values mapped to 0 and 1 when intensity is 'window'")

    # Networks
    channels: tuple[int, ...] | None = _setting(
        None, "widths of the U-Net's blocks; none: 16, doubled at each of 2 to 4 levels as the grid permits"
    )
    registration_scale: int = _setting(
        2, "the registration network works on volumes this many times coarser, less so across thick slices"
    )

    # Training
    seed: int = _setting(0, "seed of every random draw")
    segmentation_share: float = _setting(
        0.5,
        "share of the training spent first on the segmentation network with augmented atlases,"
        f" at most {ALONE_STEPS} steps",
    )
    coarse_share: float = _setting(
        0.2,
        "share of that first phase in which it works on volumes twice as coarse, which is several times faster,"
        f" at most {COARSE_STEPS} steps",
    )
    registration_share: float = _setting(
        0.07, f"share spent then on the registration network alone, at most {REGISTRATION_STEPS} steps"
    )
    atlas_steps: int = _setting(
        1500,
        "steps on the atlases that the segmentation network makes at least before both networks learn together,"
        f" unless {LATEST_TOGETHER:.0%} of the training are over",
    )
    learning_rate: float = _setting(1e-3, "highest learning rate of both networks")
    final_learning_rate: float = _setting(1e-5, "learning rate at the end of the cosine schedule")
    averaging: float = _setting(0.999, "decay of the running average of the segmentation network's weights; 0: none")
    registration_interval: int = _setting(2, "while both learn, the registration network learns in every n-th step")
    smoothness_weight: float = _setting(1.0, "weight of the displacement field's smoothness")
    consistency_weight: float = _setting(3.0, "weight of the knowledge consistency constraint (KCC)")
    inverse_weight: float = _setting(0.1, "weight of the inverse consistency")
    mix_weight: float = _setting(0.01, "weight of the mix misalignment regularisation (MMR), on logits")
    teaching_weight: float = _setting(
        0.5,
        "weight of Dice and cross entropy against the averaged network's output on the mixture, whose scans it sees in"
        " 0.8 to 1.2 times their size",
    )
    cross_entropy_weight: float = _setting(1.0, "weight of the cross entropy beside the Dice loss")
    class_balance: float = _setting(
        0.5,
        "how much more a small structure's voxels count in the cross entropy as long as it is hardly found; 0: all"
        " voxels alike, 1: all structures alike",
    )
    sampling: str = _setting(
        "ends",
        "how far samples go from an atlas towards two scans: any part of the path (published), all the way, or not"
        " at all",
        ("path", "ends", "none"),
    )
    augmentation: str = _setting(
        "full",
        "published: rotation and scale by the whole range; ordinary: mostly by less, also contrast, and sharp samples;"
        " full: also bending",
        ("published", "ordinary", "full"),
    )

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(Settings)
        for item in fields(self):
            value, choices = getattr(self, item.name), item.metadata["choices"]
            if not _is_of_type(value, hints[item.name]):
                raise InputError(f"setting {item.name}: {value!r} is not of the type {item.type}")
            if choices and value not in choices:
                raise InputError(f"setting {item.name}: {value!r} is none of {', '.join(choices)}")
        for name, demand, is_met in _demands(self):
            if not is_met:
                raise InputError(f"setting {name}: {getattr(self, name)} cannot be used; {demand}")

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values; tuples become lists."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Settings from :meth:`to_json`'s values; what is missing takes its default.

        Raises:
            InputError: a name that is no setting, or a value that it cannot have.
        """
        unknown = set(values) - {item.name for item in fields(cls)}
        if unknown:
            raise InputError(f"unknown setting {', '.join(sorted(unknown))}; this version of BRBS does not know it")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _is_of_type(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type of :class:`Settings`; floats may be integers, and are finite."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return any(_is_of_type(value, part) for part in parts)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = parts[:1] * len(value) if Ellipsis in parts else parts
        return len(kinds) == len(value) and all(map(_is_of_type, value, kinds))
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is hint


def _demands(settings: Settings) -> list[tuple[str, str, bool]]:
    """Name of a setting, what is asked of its value, and whether that is met."""
    low, high = settings.percentiles
    shares = (settings.segmentation_share, settings.registration_share)
    channels = (4, 4, 4) if settings.channels is None else settings.channels
    highest_rate, lowest_rate = settings.learning_rate, settings.final_learning_rate
    positive, share = "it must be more than 0", "shares lie in 0..1, together too"
    weights = [item.name for item in fields(settings) if item.name.endswith("_weight")]
    return [
        ("spacing", positive, min(settings.spacing or (1,)) > 0),
        ("region_margin", "it must not be negative", settings.region_margin >= 0),
        ("percentiles", "they must rise within 0..100", 0 <= low < high <= 100),
        ("window", "the second value must be larger", settings.window[0] < settings.window[1]),
        ("channels", "an odd number of widths, 3 or more, is needed", len(channels) % 2 == 1 and len(channels) >= 3),
        ("channels", f"at most {MOST_WIDTHS} widths are possible", len(channels) <= MOST_WIDTHS),
        ("channels", "widths are multiples of 4", all(width > 0 and width % 4 == 0 for width in channels)),
        ("channels", f"no width may exceed {LARGEST_WIDTH}", max(channels, default=0) <= LARGEST_WIDTH),
        ("registration_scale", "it must be 1 to 8", 1 <= settings.registration_scale <= 8),
        ("registration_interval", "it must be 1 or more", settings.registration_interval >= 1),
        ("atlas_steps", "it must not be negative", settings.atlas_steps >= 0),
        ("seed", "it must be 0 to 2^62", 0 <= settings.seed <= 2**62),
        ("segmentation_share", share, shares[0] >= 0 and sum(shares) <= 1 + 1e-9),
        ("registration_share", share, shares[1] >= 0 and sum(shares) <= 1 + 1e-9),
        ("coarse_share", "shares lie in 0..1", 0 <= settings.coarse_share <= 1),
        ("learning_rate", positive, highest_rate > 0),
        ("final_learning_rate", "it must be 0 to learning_rate", 0 <= lowest_rate <= highest_rate),
        ("class_balance", "it must be 0 to 1", 0 <= settings.class_balance <= 1),
        ("averaging", "it must be 0 or more, and less than 1", 0 <= settings.averaging < 1),
        *((name, "weights must not be negative", getattr(settings, name) >= 0) for name in weights),
    ]


BALANCED = Settings()
PAPER = replace(
    BALANCED,
    region="whole",
    channels=(16, 32, 64, 128, 256, 128, 64, 32, 16),
    registration_scale=1,
    segmentation_share=0.0,
    registration_share=0.0,
    atlas_steps=0,
    learning_rate=1e-4,
    final_learning_rate=1e-4,
    averaging=0.0,
    registration_interval=1,
    consistency_weight=100.0,
    teaching_weight=0.0,
    cross_entropy_weight=0.0,
    sampling="path",
    augmentation="published",
)


@dataclass(frozen=True)
class Preset:
    """A quality to choose.

    Attributes:
        settings: of the training.
        steps: its length.
        about: one sentence for people.
    """

    settings: Settings
    steps: int
    about: str


PRESETS = {
    "fast": Preset(BALANCED, 600, "A first impression: whether the scans suit and the structures can be learned."),
    "balanced": Preset(BALANCED, 3000, "Good results in reasonable time, the right choice for most studies."),
    "thorough": Preset(BALANCED, 12000, "Four times as long, for small or varied structures and many scans."),
    "paper": Preset(PAPER, 40000, "Settings and length of the publication: 200 epochs of 200 steps, for comparisons."),
}
DEFAULT_PRESET = "balanced"


_METHOD = [item.name for item in fields(Settings) if getattr(PAPER, item.name) != getattr(BALANCED, item.name)]


def is_published(settings: Settings) -> bool:
    """Whether a study trains as the publication does, though some settings may have been changed."""
    alike = [getattr(settings, name) == getattr(PAPER, name) for name in _METHOD]
    return 2 * sum(alike) > len(alike)


def with_preset(settings: Settings, name: str) -> Settings:
    """Settings of a study as a preset leaves them.

    Presets that differ in length alone keep all that was changed; from the publication's to the others, or back, only
    that changes in which these differ.
    """
    preset = PRESETS[name].settings
    if is_published(settings) == is_published(preset):
        return settings
    return replace(settings, **{item: getattr(preset, item) for item in _METHOD})
