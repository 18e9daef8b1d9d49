"""The one exception whose message is meant for the person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_named = ContextVar("named", default="a scan")


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what is wrong with it and what to do.

    The command line prints the message alone and exits with code 2; nothing that was there before is lost.
    """


class MemoryTooSmall(InputError):
    """A device's memory is too small for what is to be computed."""


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Puts the file at the begin of messages of those who do not know it; for the log, :func:`named` tells them.

    Raises:
        InputError: of the block, with the file.
    """
    before = _named.set(str(path))
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    finally:
        _named.reset(before)


def named() -> str:
    """The file of the innermost :func:`naming` around the caller, for the log; "a scan" where there is none."""
    return _named.get()


def memory_was_short(error: BaseException) -> bool:
    """Whether that is why something failed; each library and device says it in its own words."""
    words = ("out of memory", "allocate memory", "not enough memory", "alloc_failed")
    told = str(error).lower()
    return isinstance(error, MemoryError) or any(word in told for word in words)


def first_line(error: BaseException) -> str:
    """Kind of an error and the first line of what it says, if it says anything."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
