"""That every scan of a study is there, and none is trained on that validates."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from .errors import InputError
from .study import Atlas, Study

log = logging.getLogger("brbs")


def check_scans(study: Study) -> None:
    """Looks at the names of a study's files alone, before any is read; tells in the log what is unwise.

    Raises:
        InputError: a file that is gone; an atlas among the validation scans.
    """
    pairs = [*study.atlases, *study.validation]
    for path in [*(path for pair in pairs for path in (pair.image, pair.labels)), *study.unlabeled]:
        if not path.exists():
            raise InputError(f"{path}: no such file; put it back, or take it out of the study")
    unlabeled = {_place(path) for path in study.unlabeled}
    for scan in _among(study.validation, {_place(atlas.image) for atlas in study.atlases}):
        raise InputError(f"{scan.image}: is an atlas, so nothing can be validated on it; give other validation scans")
    if seen := _among(study.validation, unlabeled):
        log.warning("%s: validate and are unlabeled scans as well, so the validation is too kind", _names(seen))
    if twice := _among(study.atlases, unlabeled):
        log.warning("%s: atlases that are unlabeled scans as well, which teach nothing new", _names(twice))


def _place(path: Path) -> str:
    """A file's own path, however it is named."""
    return os.path.normcase(os.path.realpath(path))


def _among(pairs: Iterable[Atlas], places: set[str]) -> list[Atlas]:
    return [pair for pair in pairs if _place(pair.image) in places]


def _names(pairs: Iterable[Atlas]) -> str:
    return ", ".join(pair.name for pair in pairs)
