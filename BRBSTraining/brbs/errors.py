"""The one exception whose message is meant for the person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what is wrong with it and what to do.

    The command line prints the message alone and exits with code 2; nothing that was there before is lost.
    """


class MemoryTooSmall(InputError):
    """A device's memory is too small for what is to be computed."""


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Puts the file at the begin of messages of those who do not know it.

    Raises:
        InputError: of the block, with the file.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def first_line(error: BaseException) -> str:
    """Kind of an error and the first line of what it says, if it says anything."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
