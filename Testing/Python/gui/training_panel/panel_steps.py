"""What a user does in the training panel again and again."""

from __future__ import annotations

from pathlib import Path

from panel_user import click, drop, wait
from tiny_study import SETTINGS

READY = "ready"


def texts(table) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def statuses(table) -> list[str]:
    return [row[1] for row in texts(table)]


def create(ui, folder: Path) -> None:
    ui.studyPathEdit.currentPath = str(folder)
    click(ui.createStudyButton)


def fill(widget, files: Path, folder: Path) -> None:
    """Creates a study of files and waits until all of it is checked and the engine has answered."""
    ui = widget.ui
    create(ui, folder)
    drop(ui.atlasTable, files)
    wait(lambda: ui.atlasTable.rowCount == 2)
    widget.panel.session.changeStudy(lambda study: study.setSettings(SETTINGS))
    wait(lambda: set(statuses(ui.atlasTable) + statuses(ui.scanTable)) == {READY})
    wait(lambda: not widget.panel.session.report.busy)
    wait(lambda: ui.startButton.enabled)


def choose(selector, text: str) -> None:
    """Chooses an entry as a user does."""
    selector.setCurrentText(text)
    selector.activated[int].emit(selector.currentIndex)
