"""What a user does with a panel: clicks, and waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from PyQt5.QtCore import Qt
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication


def wait(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Lets the application run until something is so.

    Raises:
        AssertionError: it did not come about in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen in {seconds} s"
        QApplication.processEvents()
        time.sleep(0.01)


def click(button) -> None:
    """Clicks a button, which has to be enabled."""
    assert button.enabled, f"{button.objectName} is disabled: {button.toolTip}"
    QTest.mouseClick(button, Qt.LeftButton)
