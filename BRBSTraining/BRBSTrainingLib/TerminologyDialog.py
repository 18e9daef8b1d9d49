"""Choosing a standard term for a structure."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _


def terminologyName(terminology: str) -> str:
    """The type that a terminology string names, such as "Liver"; the text itself if it has another form."""
    parts = terminology.split("~")
    code = parts[2].split("^") if len(parts) > 2 else []
    return code[2] if len(code) > 2 else terminology


def askTerminology(terminology: str, parent) -> str | None:
    """Lets the user choose from Slicer's terminologies.

    Args:
        terminology: the string to begin with; may be empty.
        parent: the widget to show the dialogue over.

    Returns:
        The chosen terminology string; None: cancelled.
    """
    logic = slicer.modules.terminologies.logic()
    entry = slicer.vtkSlicerTerminologyEntry()
    if terminology:
        logic.DeserializeTerminologyEntry(terminology, entry)
    dialog = qt.QDialog(parent)
    try:
        chosen = _choose(dialog, entry)
    finally:
        dialog.deleteLater()  # else it would live as long as its parent
    return logic.SerializeTerminologyEntry(entry) if chosen else None


def _choose(dialog, entry) -> bool:
    """Shows the terminologies in the dialogue; true where the user has chosen one, which the entry then is."""
    dialog.setWindowTitle(_("Terminology"))
    navigator = slicer.qSlicerTerminologyNavigatorWidget()
    navigator.setTerminologyEntry(entry)
    buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    buttons.connect("accepted()", dialog.accept)
    buttons.connect("rejected()", dialog.reject)
    layout = qt.QVBoxLayout(dialog)
    layout.addWidget(navigator)
    layout.addWidget(buttons)
    return dialog.exec_() == qt.QDialog.Accepted and navigator.terminologyEntry(entry)
