"""Files that are either wholly there or not at all, and versioned JSON."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]')  # in names of files, on one system or another


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, with the same suffix, that becomes ``path`` when the block ends well.

    Missing parent folders are made. When the block fails, the temporary file is removed and an existing ``path``
    stays as it was.

    Raises:
        InputError: an operating system error in the block or on renaming (disk full, no right to write).
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _patiently(_to_disk, temporary)
        _patiently(os.replace, temporary, path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass  # the parent is no folder: nothing was written


def check_replaceable(path: str | Path) -> None:
    """Tries whether :func:`replacing` could write a file, before the work is done whose result it is to hold.

    Missing parent folders are made; nothing else stays.

    Raises:
        InputError: the path is a folder, or nothing can be written beside it.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial = _beside(path)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise _not_written(path, error) from error


def _beside(path: Path) -> Path:
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


def _not_written(path: Path, error: OSError) -> InputError:
    reason = error.strerror or error
    return InputError(
        f"{path}: cannot be written ({reason}); check the folder, its permissions and the free disk space"
    )


def _to_disk(path: Path) -> None:
    """Waits until the file's content is on the disk; renamed before, it could be empty after a power cut."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _patiently(action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Repeats what Windows refuses for the moment in which another process reads or replaces the file."""
    for _ in range(50 if os.name == "nt" else 0):
        try:
            return action(*arguments, **options)
        except PermissionError:
            time.sleep(0.02)
    return action(*arguments, **options)


def plain(value: Any) -> Any:
    """What JSON lacks (paths, NumPy numbers and arrays) as plain Python; the ``default`` of ``json.dumps``."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Writes ``content`` as UTF-8 JSON in one go.

    Raises:
        InputError: the file cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, default=plain)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path, newest_format: int | None = None) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: the file.
        newest_format: the newest value of its ``"format"`` entry that this version understands; none: no check.

    Raises:
        InputError: missing or damaged file, or written in a newer format.
    """
    path = Path(path)
    try:
        content = json.loads(_patiently(path.read_text, encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); restore or make the file again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; restore or make the file again")
    if newest_format is not None:
        found = content.get("format")
        if not isinstance(found, int) or found < 1:
            raise InputError(f"{path}: has no format number; was it written by BRBS?")
        if found > newest_format:
            raise InputError(
                f"{path}: format {found} is newer than this version of BRBS reads ({newest_format}); update BRBS"
            )
    return content
