"""Rows of text in a table widget, changed only where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import qt

NAME, STATUS = 0, 1  # columns
NAME_WIDTH = 112  # pixels; the user may change it
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
        """Shows these rows; the selection stays on the same lines."""
        if len(rows) != len(self._rows):
            self._table.setRowCount(len(rows))
        self._table.setUpdatesEnabled(False)
        for index, row in enumerate(rows):
            before = self._rows[index] if index < len(self._rows) else None
            if row != before:
                self._fill(index, row)
        self._table.setUpdatesEnabled(True)
        if list(rows) != self._rows:
            self._rows = list(rows)
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
            item.setToolTip(row.toolTip)
            if column == STATUS:
                item.setIcon(self._icons[row.mark])
            self._table.setItem(index, column, item)
