"""Whether a model's description can be true, told before anything is allocated for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError
from .grid import WorkingGrid
from .label_schema import LabelSchema
from .model_description import MODEL_FILE
from .overview import check_place
from .settings import Settings


def check_description(description: dict[str, Any], folder: str | Path) -> None:
    """Checks structures, working grid, overview, widths and strides, settings and provenance, each by itself.

    Args:
        description: of :func:`brbs.model_description.read_description`.
        folder: the model's, to be named.

    Raises:
        InputError: a part is missing, of a wrong type, or a number that no model can have.
    """
    checks = {
        "structures": lambda: _check_labels(description["labels"]),
        "working grid": lambda: WorkingGrid.from_json(description["grid"]),
        "overview": lambda: _check_overview(description.get("overview")),
        "networks": lambda: _check_networks(description["channels"], description.get("strides")),
        "settings": lambda: Settings.from_json(description["settings"]),
        "origin": lambda: _check_provenance(description.get("provenance", {})),
    }
    for part, check in checks.items():
        try:
            check()
        except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            path = Path(folder) / MODEL_FILE
            raise InputError(f"{path}: does not describe its {part} properly ({error}); get the model again") from error


def _check_labels(labels: Any) -> None:
    if not LabelSchema.from_json(labels).labels:
        raise ValueError("there are none")


def _check_overview(place: Any) -> None:
    if place is not None:
        check_place(place)


def _check_networks(channels: Any, strides: Any) -> None:
    if not isinstance(channels, list):
        raise ValueError("their widths are no list")
    Settings(channels=tuple(channels))
    if strides is None:
        return
    levels = [step for step in strides if len(step) == 3 and all(type(part) is int and part in (1, 2) for part in step)]
    if not len(levels) == len(strides) == len(channels) // 2:
        raise ValueError("their strides are not 1 or 2 for each axis and level")


def _check_provenance(provenance: Any) -> None:
    names = provenance.get("atlases", []) if isinstance(provenance, dict) else None
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("it is not told as it should be")
