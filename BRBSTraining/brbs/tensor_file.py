"""Files in the safetensors format, read without PyTorch and without the package of that name.

Such a file is the length of a header (8 bytes, little-endian), the header (JSON: type, shape and place of each tensor)
and the tensors' bytes, one after the other.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

LARGEST_HEADER = 10 * 2**20  # bytes
MOST_AXES = 8

_TYPES = {"F16": "<f2", "F32": "<f4", "U8": "u1"}  # all that models hold


def check_tensors(path: str | Path) -> None:
    """Checks that a file's header is that of a model's tensors and fits its length, without reading them.

    Raises:
        InputError: the file is missing or damaged.
    """
    _read_header(Path(path))


def map_tensor(path: str | Path, name: str) -> np.ndarray:
    """A tensor of a file, read from the disk where it is looked at.

    Raises:
        InputError: the file is missing or damaged, or has no such tensor of a type that atlases have.
    """
    path = Path(path)
    header, start = _read_header(path)
    try:
        entry = header[name]
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        kind = _TYPES[entry["dtype"]]
        # An empty file part cannot be mapped.
        array = np.memmap(path, kind, "r", start + begin, shape) if begin < end else np.empty(shape, kind)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: {name} cannot be read ({error!r}); get the model again") from error
    return array


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes begin."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ValueError("its header is too long")
            header = json.loads(stream.read(length), object_pairs_hook=_without_repetition)
        spans = sorted(_span(name, entry) for name, entry in header.items() if name != "__metadata__")
        ends = [0, *(end for _, end in spans)]
        if [start for start, _ in spans] != ends[:-1] or ends[-1] != size - 8 - length:
            raise ValueError("its header does not fit its length")
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; get the model again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); get the model again") from error
    return header, 8 + length


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name is in it twice")
    return content


def _span(name: str, entry: dict[str, Any]) -> tuple[int, int]:
    """Where a tensor begins and ends, if that is as long as its shape and type need."""
    begin, end = entry["data_offsets"]
    sizes = entry["shape"]
    numbers = begin, end, *sizes
    if len(sizes) > MOST_AXES or not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise ValueError(f"{name} has no proper shape or place")
    if entry["dtype"] not in _TYPES or math.prod(sizes) * np.dtype(_TYPES[entry["dtype"]]).itemsize != end - begin:
        raise ValueError(f"{name} is of another type or length than models have")
    return begin, end
