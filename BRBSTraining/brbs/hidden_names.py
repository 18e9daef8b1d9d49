"""Printed lines that name nobody: paths and names of files give way to what they are, such as "unlabeled scan 3"."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .image_files import bare_name

if TYPE_CHECKING:
    from .study import Study

OWN_FOLDERS = frozenset({"study", "output", "model", "job", "folder", "table"})  # options; the engine names files there
SHORTEST_NAME, FEWEST_DIGITS = 3, 4  # of words that can be somebody's; shorter ones are words, steps and sizes
_BEGIN = re.compile(r"(?<!\w)[^\s:]")  # of a name: not within a word
_END = re.compile(r"(?![\w-])([\\/][^:\r\n]*)?")  # so that "scan 1" is not found in "scan 10"; and what lies in it


class _Told(NamedTuple):
    """What is told in place of a name, and whether that stands for all that lies in it."""

    kind: str
    whole: bool


_known: dict[str, _Told] = {}
_lengths: set[int] = set()  # of what is known; many names have few


def hide_names(arguments: argparse.Namespace) -> None:
    """Lets all that this process prints from now on tell what a file is, and not how it is called.

    Files and folders of the command line are called by their options, such as ``<output>``; scans as
    :func:`call_scans` and :func:`call_study` say, whenever they do.
    """
    for place in sys.path:
        _know(os.path.abspath(place), _Told("<python>", False))
    _know(os.getcwd(), _Told("<here>", False))
    _know(Path.home(), _Told("~", False))
    for option, value in vars(arguments).items():
        if isinstance(value, str) and option != "command":
            _know(value, _Told(f"<{option.replace('_', '-')}>", option not in OWN_FOLDERS))
    sys.stdout, sys.stderr = _Nameless(sys.stdout), _Nameless(sys.stderr)


def call_folder(folder: str | Path, kind: str) -> None:
    """Calls a folder of the engine's own by what it is, such as "study"; files in it keep their names."""
    _know(folder, _Told(f"<{kind}>", False))


def call_study(study: Study) -> None:
    """Calls the scans and label maps of a study by their places in its lists."""
    for kind, pairs in (("atlas", study.atlases), ("validation scan", study.validation)):
        call_scans((pair.image for pair in pairs), kind)
        call_scans((pair.labels for pair in pairs), f"labels of {kind}")
    call_scans(study.unlabeled, "unlabeled scan")


def call_scans(paths: Iterable[Path], kind: str) -> None:
    """Calls files and DICOM folders, with all slices in them, by a number, counted from 1.

    Args:
        paths: in the order that people know.
        kind: what they are, such as "atlas".
    """
    for number, path in enumerate(paths, 1):
        told = _Told(f"{kind} {number}", True)
        _know(path, told)
        for word in (path.name, bare_name(path)):
            if word not in _known and len(word) >= (FEWEST_DIGITS if word.isdigit() else SHORTEST_NAME):
                _keep(word, told)


def hidden(text: str) -> str:
    """The text without paths and names of files that are known."""
    parts, done = [], 0
    for begin in _BEGIN.finditer(text):
        if begin.start() >= done and (found := _longest(text, begin.start())):
            (kind, whole), end = found
            parts += [text[done : begin.start()], kind]
            done = end.end() if whole else end.start()
    return "".join([*parts, text[done:]])


def _longest(text: str, start: int) -> tuple[_Told, re.Match[str]] | None:
    """The longest known name that begins there: what is told instead, and what follows it."""
    for length in sorted(_lengths, reverse=True):
        told = _known.get(text[start : start + length])
        if told and (end := _END.match(text, start + length)):
            return told, end
    return None


def _know(path: str | Path, told: _Told) -> None:
    """Keeps a path in each form in which a message may hold it."""
    whole = os.path.abspath(path)
    # As Python's own errors quote it; as it was given, if that is more than a word.
    forms = {whole, Path(whole).as_posix(), whole.replace("\\", "\\\\")}
    forms |= {str(path)} if {"/", "\\"} & set(str(path)) else set()
    for form in forms:
        if len(form) > len(Path(whole).anchor):
            _keep(form, told)


def _keep(name: str, told: _Told) -> None:
    _known[name] = told
    _lengths.add(len(name))


class _Nameless:
    """A text stream that hides names in what is written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(hidden(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
