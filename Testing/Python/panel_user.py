"""What a user does with a panel: clicks, drops files, and waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import waiting
from PyQt5.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PyQt5.QtGui import QDragEnterEvent, QDropEvent
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication


def wait(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Lets the application run until something is so.

    Raises:
        AssertionError: it did not come about in time.
    """
    waiting.wait(condition, seconds, QApplication.processEvents)


def click(button) -> None:
    """Clicks a button, which has to be enabled."""
    assert button.enabled, f"{button.objectName} is disabled: {button.toolTip}"
    QTest.mouseClick(button, Qt.LeftButton)


def drop(table, *paths: Path) -> None:
    """Drops files on a table as a file manager does."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    view = table.viewport()
    enter = QDragEnterEvent(QPoint(5, 5), Qt.CopyAction, data, Qt.LeftButton, Qt.NoModifier)
    QApplication.sendEvent(view, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(view, QDropEvent(QPointF(5, 5), Qt.CopyAction, data, Qt.LeftButton, Qt.NoModifier))
