"""Printed lines that name nobody: paths and names of files give way to what they are, such as "unlabeled scan 3"."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import SimpleITK as sitk

from .image_files import bare_name

if TYPE_CHECKING:
    from .study import Study

# Options that take paths: of files and folders in which the engine names what is there, and in which others do.
ENGINES_OWN = frozenset({"study", "model", "output", "job", "folder", "table"})
SCANS = frozenset({"atlas_images", "atlas_labels", "unlabeled", "dataset", "validation_images", "validation_labels"})
SCANS |= {"input", "list", "prediction", "reference", "images", "style", "space", "space_labels"}
SHORTEST_NAME, FEWEST_DIGITS = 3, 4  # of words that can be somebody's; shorter ones are words, steps and sizes
_BEGIN = re.compile(r"(?<![^\W_])[^\s:]")  # of a name: not within a word
_END = re.compile(r"(?![^\W_])([\\/](?:(?!: )[^\r\n])*)?")  # "scan 1" is not found in "scan 10"; and what lies in it


class _Told(NamedTuple):
    """What is told in place of a name, and whether that stands for all that lies in it."""

    kind: str
    whole: bool


_known: dict[str, _Told] = {}
_lengths: set[int] = set()  # of what is known; many names have few


def hide_names(arguments: argparse.Namespace) -> None:
    """Lets all that this process prints from now on tell what a file is, and not how it is called.

    Files and folders of the command line, which become absolute, are called by their options, such as ``<output>``, and
    so is what lies in folders of scans; scans as :func:`call_scans` and :func:`call_study` say, whenever they do.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK prints by itself, and names files
    for place in sys.path:
        _know(os.path.abspath(place), _Told("<python>", False))
    _know(os.getcwd(), _Told("<here>", False))
    _know(Path.home(), _Told("~", False))
    for option in ENGINES_OWN | SCANS:
        if value := getattr(arguments, option, None):
            setattr(arguments, option, os.path.abspath(value))
            told = _Told(f"<{option.replace('_', '-')}>", option in SCANS)
            _know(value, told)
            if option in SCANS and os.path.isdir(value):
                _call_words((Path(name) for name in os.listdir(value)), told)
    sys.stdout, sys.stderr = _Nameless(sys.stdout), _Nameless(sys.stderr)


def call_folder(folder: str | Path, kind: str) -> None:
    """Calls a folder of the engine's own by what it is, such as "study"; files in it keep their names."""
    _know(folder, _Told(f"<{kind}>", False))


def call_people(user: str, host: str) -> None:
    """Hides who works where."""
    for name, kind in ((user, "somebody"), (host, "a computer")):
        if name:
            _keep(name, _Told(kind, False))


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
        folder = os.path.abspath(path.parent)
        if folder not in _known:  # beside a header lie the files of its voxels
            _know(folder, _Told("<folder of scans>", True))
        _know(path, told)
        _call_words([path], told)


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


def _call_words(paths: Iterable[Path], told: _Told) -> None:
    """Names without folders, unless they are numbered already: a scan and its label map are often named alike."""
    for path in paths:
        for word in (path.name, bare_name(path)):
            free = word not in _known or _known[word].kind.startswith("<")
            if free and len(word) >= (FEWEST_DIGITS if word.isdigit() else SHORTEST_NAME):
                _keep(word, told)


def _know(path: str | Path, told: _Told) -> None:
    """Keeps a path in each form in which a message may hold it."""
    whole = os.path.abspath(path)
    quoted = whole.replace("\\", "\\\\")  # as Python's own errors do on Windows
    for form in (whole, Path(whole).as_posix(), quoted):
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
