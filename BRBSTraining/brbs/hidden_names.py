"""Printed lines that name nobody: paths and names of files give way to what they are, such as "unlabeled scan 3"."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .image_files import bare_name

if TYPE_CHECKING:
    from .study import Study

OWN_FOLDERS = frozenset({"study", "output", "model", "job", "folder", "table"})  # options; the engine names files there
SHORTEST_NAME, FEWEST_DIGITS = 3, 4  # of words that can be somebody's; shorter ones are words, steps and sizes
_END = r"(?![\w-])"  # so that "scan 1" is not found in "scan 10"

_scans: dict[str, str] = {}  # paths with all that lies in them, by what is told instead
_folders: dict[str, str] = {}  # paths in which files keep their names
_words: dict[str, str] = {}  # names of files without their folders


def hide_names(arguments: argparse.Namespace) -> None:
    """Lets all that this process prints from now on tell what a file is, and not how it is called.

    Files and folders of the command line are called by their options, such as ``<output>``; scans as
    :func:`call_scans` and :func:`call_study` say, whenever they do.
    """
    for place in sys.path:
        _know(_folders, os.path.abspath(place), "<python>")
    _know(_folders, os.getcwd(), "<here>")
    _know(_folders, Path.home(), "~")
    for option, value in vars(arguments).items():
        if isinstance(value, str) and option != "command":
            _know(_folders if option in OWN_FOLDERS else _scans, value, f"<{option.replace('_', '-')}>")
    sys.stdout, sys.stderr = _Nameless(sys.stdout), _Nameless(sys.stderr)


def call_folder(folder: str | Path, kind: str) -> None:
    """Calls a folder of the engine's own by what it is, such as "study"."""
    _know(_folders, folder, f"<{kind}>")


def call_study(study: Study) -> None:
    """Calls the scans and label maps of a study by their places in its lists."""
    for kind, pairs in (("atlas", study.atlases), ("validation scan", study.validation)):
        call_scans((pair.image for pair in pairs), kind)
        call_scans((pair.labels for pair in pairs), f"labels of {kind}")
    call_scans(study.unlabeled, "unlabeled scan")


def call_scans(paths: Iterable[Path], kind: str) -> None:
    """Calls files and DICOM folders by a number, counted from 1.

    Args:
        paths: in the order that people know.
        kind: what they are, such as "atlas".
    """
    for number, path in enumerate(paths, 1):
        _know(_scans, path, f"{kind} {number}")
        for word in (path.name, bare_name(path)):
            if len(word) >= (FEWEST_DIGITS if word.isdigit() else SHORTEST_NAME):
                _words.setdefault(word, f"{kind} {number}")


def hidden(text: str) -> str:
    """The text without paths and names of files that are known."""
    paths = r"(?P<scan>{})" + _END + r"(?:[\\/][^:\r\n]*)?|(?P<folder>{})" + _END
    pattern = paths.format(_any(_scans), _any(_folders)) + rf"|(?<!\w)(?P<word>{_any(_words)}){_END}"
    known: dict[str | None, Mapping[str, str]] = {"scan": _scans, "folder": _folders, "word": _words}
    return re.sub(pattern, lambda found: known[found.lastgroup][found[found.lastgroup]], text)


def _know(names: dict[str, str], path: str | Path, called: str) -> None:
    """Keeps a path in each form in which a message may hold it."""
    whole = os.path.abspath(path)
    # As it was given, if that is more than a word; as Python's own errors quote it.
    forms = {whole, os.path.realpath(path), Path(whole).as_posix(), whole.replace("\\", "\\\\")}
    forms |= {str(path)} if {"/", "\\"} & set(str(path)) else set()
    names.update((form, called) for form in forms if len(form) > len(Path(whole).anchor))


def _any(names: Mapping[str, str]) -> str:
    """A pattern of any of the names, the longest first; of none, one that is nowhere."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)"


class _Nameless:
    """A text stream that hides names in what is written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(hidden(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
