"""Paths without a place to be broken: no message makes a panel wider than the user has it."""

from __future__ import annotations

import pytest

LONG = "C:/Scans/" + 40 * "Untersuchung_" + ".nii.gz: no such file"


@pytest.mark.parametrize("name", ["BRBSTraining", "BRBSSegmentation"])
def test_a_long_path_in_a_message_makes_no_panel_wide(application, name: str) -> None:
    from importlib import import_module

    from PyQt5.QtWidgets import QLabel
    from standin.scripted_module import openModule

    widget = openModule(getattr(import_module(name), f"{name}Widget"))
    panel = widget.parent
    before = panel.minimumSizeHint().width()
    labels = [label for label in panel.findChildren(QLabel) if label.wordWrap]
    for label in labels:
        label.setText(LONG)
        label.setVisible(True)
    panel.layout().invalidate()
    application.processEvents()
    assert labels and panel.minimumSizeHint().width() == before
    widget.cleanup()
