"""The structures of a study: values, names, colours, and the classes that the networks tell apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .segments import default_label, smallest_type

MOST_LABELS = 255
LARGEST_LABEL = 2**53  # either sign


@dataclass(frozen=True)
class Label:
    """A structure: its value in label maps, its name, colour (red, green, blue in 0..1) and terminology string."""

    value: int
    name: str
    colour: tuple[float, float, float]
    terminology: str = ""


@dataclass(frozen=True)
class LabelSchema:
    """The structures of a study, sorted by value; the background (0) is not among them.

    Values are arbitrary integers; class indices are 0 for the background and i + 1 for ``labels[i]``.

    Raises:
        InputError: value 0, a value twice, or more than 255 structures.
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(sorted(self.labels, key=lambda label: label.value)))
        if 0 in self.values:
            raise InputError("label value 0 is the background and cannot be a structure")
        if len(set(self.values)) < len(self.values):
            raise InputError("two structures have the same label value; give each its own")
        if len(self.labels) > MOST_LABELS:
            raise InputError(f"{len(self.labels)} structures; at most {MOST_LABELS} can be trained together")

    @property
    def values(self) -> tuple[int, ...]:
        """Label values of the structures in rising order."""
        return tuple(label.value for label in self.labels)

    @property
    def class_count(self) -> int:
        """Number of classes, background included."""
        return len(self.labels) + 1

    @property
    def meta(self) -> list[tuple[int, str, tuple[float, float, float], str]]:
        """The structures as :func:`brbs.volumes.write_label_map` takes them."""
        return [(label.value, label.name, label.colour, label.terminology) for label in self.labels]

    def encode(self, values: np.ndarray, path: str | Path = "label map") -> np.ndarray:
        """Label values of any shape as class indices (uint8); ``path`` is named when that fails.

        Raises:
            InputError: a value that is no structure of this schema.
        """
        values = np.asarray(values)
        known = np.array(sorted((0, *self.values)), dtype=np.int64)
        classes = np.array([0 if v == 0 else self.values.index(v) + 1 for v in known.tolist()], dtype=np.uint8)
        find = _looked_up if values.dtype in (np.uint8, np.uint16) else _searched
        encoded, strangers = find(values, known, classes)
        if strangers.any():
            found = ", ".join(map(str, np.unique(values[strangers])[:10]))
            raise InputError(f"{path}: label value {found} is unknown; known are {', '.join(map(str, self.values))}")
        return encoded

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """Class indices of any shape as label values, in the smallest integer type that holds all of them."""
        values = (0, *self.values)
        return np.array(values, dtype=smallest_type(min(values), max(values)))[indices]

    def merge(self, other: LabelSchema) -> LabelSchema:
        """The structures of both; where a value is in both, name, colour and terminology of this one stay."""
        return LabelSchema((*self.labels, *(label for label in other.labels if label.value not in self.values)))

    def refuse_shared_names(self) -> None:
        """Refuses two structures of one name, upper and lower case alike: volumes, confidences and Dice go by names.

        Raises:
            InputError: names the first two.
        """
        first: dict[str, Label] = {}
        for label in self.labels:
            other = first.setdefault(label.name.casefold(), label)
            if other is not label:
                raise InputError(
                    f"structures {other.value} and {label.value} are both called '{label.name}'; "
                    "give each a name of its own, or one value in all atlases"
                )

    @classmethod
    def from_values(cls, values: Iterable[int], names: Mapping[int, str] | None = None) -> LabelSchema:
        """Structures with the given names, else ``Label 3``, and distinct colours; 0 is left out."""
        names = names or {}
        metas = (default_label(int(value)) for value in set(values) if value != 0)
        return cls(tuple(Label(value, names.get(value, name), colour) for value, name, colour, _ in metas))

    def to_json(self) -> list[dict[str, Any]]:
        """One JSON object a structure."""
        return [{**asdict(label), "colour": list(label.colour)} for label in self.labels]

    @classmethod
    def from_json(cls, content: Sequence[Mapping[str, Any]]) -> LabelSchema:
        """The schema of :meth:`to_json`'s value.

        Raises:
            InputError: a value of a wrong type; others of the exceptions of a structure that is none.
        """
        labels = tuple(Label(**{**entry, "colour": tuple(entry["colour"])}) for entry in content)
        for label in labels:
            if not _is_right(label):
                raise InputError(f"structure {label.value!r} has values of a wrong type")
        return cls(labels)


def _looked_up(values: np.ndarray, known: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_searched`, for types of so few values that a table of all is at hand."""
    count = np.iinfo(values.dtype).max + 1
    held = (known >= 0) & (known < count)
    table, strange = np.zeros(count, np.uint8), np.ones(count, bool)
    table[known[held]], strange[known[held]] = classes[held], False
    return table[values], strange[values]


def _searched(values: np.ndarray, known: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class of each value (uint8), and whether it has none.

    Args:
        values: integers of any shape.
        known: label values, rising.
        classes: of these, uint8.
    """
    places = np.searchsorted(known, values).clip(max=len(known) - 1)
    return classes[places], known[places] != values


def _is_right(label: Label) -> bool:
    """Whether all parts of a structure have the right type."""
    colours = all(type(part) in (int, float) and math.isfinite(part) for part in label.colour)
    texts = isinstance(label.name, str) and isinstance(label.terminology, str)
    value = type(label.value) is int and abs(label.value) <= LARGEST_LABEL
    return value and texts and len(label.colour) == 3 and colours
