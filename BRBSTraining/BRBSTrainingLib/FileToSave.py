"""Where a file is to be saved, as the user says."""

from __future__ import annotations

import os
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _


def fileToSave(parent, title: str, name: str, filter: str) -> Path | None:
    """A file with the suffix of the suggested name; None: the user does not want one.

    The dialogue has asked about the name as it was typed only, so that one that gets the suffix here is asked about
    here.
    """
    path, suffix = qt.QFileDialog.getSaveFileName(parent, title, name, filter), Path(name).suffix
    if not path or path.lower().endswith(suffix):
        return Path(path) if path else None
    whole = Path(path + suffix)
    question = _("{path} exists already. Replace it?").format(path=whole)
    wanted = not os.path.exists(whole) or slicer.util.confirmYesNoDisplay(question, title)
    return whole if wanted else None
