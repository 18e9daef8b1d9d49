"""Rows of text in a table widget, changed only where they differ."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import qt

NAME, STATUS = 0, 1  # columns
NAME_WIDTH = 112  # pixels; the user may change it
TIP_LENGTH = 100  # letters of a tool tip's line, which Qt does not break
GOOD, BUSY, ODD, BAD, NEUTRAL = "good", "busy", "odd", "bad", "neutral"
_ICONS = {
    GOOD: "SP_DialogApplyButton",
    BUSY: "SP_BrowserReload",
    ODD: "SP_MessageBoxWarning",
    BAD: "SP_MessageBoxCritical",
    NEUTRAL: "SP_MessageBoxInformation",
}


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        key: what the line stands for.
        cells: texts, a column each; the second is the status.
        mark: one of GOOD, BUSY, ODD, BAD and NEUTRAL: the status's icon.
        toolTip: shown over every cell.
    """

    key: object
    cells: tuple[str, ...]
    mark: str
    toolTip: str


class RowTable:
    """Shows :class:`Row` objects.

    Args:
        table: a ``QTableWidget``.
        headers: titles of the columns.
    """

    def __init__(self, table, headers: Sequence[str]) -> None:
        self._table = table
        self._rows: list[Row] = []
        style = qt.QApplication.style()
        self._icons = {mark: style.standardIcon(getattr(qt.QStyle, name)) for mark, name in _ICONS.items()}
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(list(headers))
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setResizeContentsPrecision(0)  # what is in view tells the widths
        table.setColumnWidth(NAME, NAME_WIDTH)
        self._fitColumns()

    def show(self, rows: Sequence[Row]) -> None:
        """Shows these rows; what they stand for stays selected, wherever it is now, and nobody is told of it."""
        rows, before, chosen = list(rows), self._rows, set(self.selected())
        self._rows = rows
        self._table.blockSignals(True)
        self._table.setUpdatesEnabled(False)
        if len(rows) != len(before):
            self._table.setRowCount(len(rows))
        for index, row in enumerate(rows):
            if index >= len(before) or row != before[index]:
                self._fill(index, row)
        if [row.key for row in rows] != [row.key for row in before]:
            selectRows(self._table, [index for index, row in enumerate(rows) if row.key in chosen])
        self._table.setUpdatesEnabled(True)
        self._table.blockSignals(False)
        if rows != before:
            self._fitColumns()

    def selected(self) -> list:
        """Keys of the selected rows."""
        chosen = {index.row() for index in self._table.selectionModel().selectedRows()}
        return [self._rows[index].key for index in sorted(chosen) if index < len(self._rows)]

    def _fitColumns(self) -> None:
        """Once for all rows: a header that fits itself does so after each cell."""
        for column in range(STATUS, self._table.columnCount):
            self._table.resizeColumnToContents(column)

    def _fill(self, index: int, row: Row) -> None:
        for column, text in enumerate(row.cells):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(wrapped(row.toolTip))
            if column == STATUS:
                item.setIcon(self._icons[row.mark])
            self._table.setItem(index, column, item)


def selectRows(table, rows: Sequence[int]) -> None:
    """Selects these rows of a ``QTableWidget`` and no others."""
    table.clearSelection()
    for row in rows:
        table.setRangeSelected(qt.QTableWidgetSelectionRange(row, 0, row, table.columnCount - 1), True)


def wrapped(text: str) -> str:
    """A tool tip's text, in lines that fit on a screen; words such as paths stay whole."""
    wrapper = textwrap.TextWrapper(TIP_LENGTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(wrapper.fill, text.split("\n")))
