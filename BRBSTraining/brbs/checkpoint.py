"""What a training keeps of itself, in files of plain tensors and numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from .errors import InputError, first_line
from .files import replacing


def write_state(state: dict[str, Any], path: Path) -> None:
    """Writes a state in place of the one before.

    Raises:
        InputError: the file cannot be written; the one before stays.
    """
    buffer = io.BytesIO()  # torch hides the reason when a file cannot be written
    torch.save(state, buffer)
    # No view outlives an error (Path.write_bytes keeps one): left to the garbage collector, it crashes Python 3.12.1.
    with replacing(path) as aside, aside.open("wb") as stream, buffer.getbuffer() as content:
        stream.write(content)


def read_state(path: Path) -> dict[str, Any]:
    """Reads what :func:`write_state` has written, onto the CPU.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes make it raise
        raise InputError(f"{path}: damaged ({first_line(error)})") from error
