"""The panel's table of structures."""

from __future__ import annotations

from dataclasses import replace

import qt
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.segments import default_label

from .RowTable import selectRows
from .Section import Guard, Section, onClick
from .StudySession import StudySession
from .TerminologyDialog import askTerminology, terminologyName

COLOUR, NAME, VALUE, TERMINOLOGY = range(4)


class StructuresSection(Section):
    """Shows the study's structures and lets the user edit them."""

    def __init__(self, ui, session: StudySession, guard: Guard) -> None:
        super().__init__(ui, session, guard)
        self._shown: tuple[Label, ...] = ()
        table = self._table = ui.structuresTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels(["", _("Name"), _("Value"), _("Terminology")])
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(COLOUR, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(VALUE, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(TERMINOLOGY, qt.QHeaderView.Stretch)
        table.connect("cellChanged(int,int)", lambda row, column: guard(lambda: self._edited(row, column)))
        table.connect("cellDoubleClicked(int,int)", lambda row, column: guard(lambda: self._choose(row, column)))
        table.connect("itemSelectionChanged()", self.updateButtons)
        onClick({ui.addStructureButton: self._add, ui.removeStructureButton: self._remove}, guard)

    def update(self) -> None:
        """Shows the study's structures as they are now."""
        labels = self._labels()
        if labels != self._shown:
            chosen, self._shown = self._selected(), labels
            self._table.blockSignals(True)
            self._table.setRowCount(len(labels))
            for row, label in enumerate(labels):
                self._fill(row, label)
            selectRows(self._table, [row for row, label in enumerate(labels) if _isAmong(label, chosen)])
            self._table.blockSignals(False)
        self.updateButtons()

    def updateButtons(self) -> None:
        """Enables what can be done now."""
        isOpen, held = self._session.study is not None, self._heldValues()
        chosen = self._selected()
        self._ui.addStructureButton.enabled = isOpen
        self._ui.removeStructureButton.enabled = bool(chosen) and not any(label.value in held for label in chosen)

    def _labels(self) -> tuple[Label, ...]:
        return self._session.study.study.schema.labels if self._session.study else ()

    def _selected(self) -> list[Label]:
        rows = {index.row() for index in self._table.selectionModel().selectedRows()}
        return [self._shown[row] for row in sorted(rows) if row < len(self._shown)]

    def _heldValues(self) -> set[int]:
        """Values that the atlases' label maps hold."""
        return {label.value for item in self._session.items for label in item.structures}

    def _fill(self, row: int, label: Label) -> None:
        colour = qt.QTableWidgetItem("")
        colour.setBackground(qt.QBrush(qt.QColor.fromRgbF(*label.colour)))
        name, value = qt.QTableWidgetItem(label.name), qt.QTableWidgetItem(str(label.value))
        terminology = qt.QTableWidgetItem(terminologyName(label.terminology))
        for item, toolTip in (
            (colour, _("Double-click to choose a colour.")),
            (terminology, _("Double-click to choose from Slicer's terminologies.")),
        ):
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setToolTip(toolTip)
        for column, item in ((COLOUR, colour), (NAME, name), (VALUE, value), (TERMINOLOGY, terminology)):
            self._table.setItem(row, column, item)

    def _edited(self, row: int, column: int) -> None:
        label, text = self._shown[row], self._table.item(row, column).text().strip()
        try:
            self._replace(label, self._renamed(label, text) if column == NAME else self._revalued(label, text))
        except InputError:
            self._shown = ()  # shows the study again
            self.update()
            raise

    def _renamed(self, label: Label, name: str) -> Label:
        others = {other.name.casefold() for other in self._shown if other is not label}
        if not name or name.casefold() in others:
            raise InputError(_("Every structure needs a name of its own."))
        return replace(label, name=name)

    def _revalued(self, label: Label, text: str) -> Label:
        if not text.lstrip("-").isdigit():
            raise InputError(_("{text} is no whole number.").format(text=text))
        if label.value in self._heldValues():
            raise InputError(
                _("{name} has the value {value} in the atlases' label maps; it cannot have another.").format(
                    name=label.name, value=label.value
                )
            )
        return replace(label, value=int(text))

    def _replace(self, old: Label, new: Label) -> None:
        self._session.setSchema(LabelSchema(tuple(new if label is old else label for label in self._shown)))

    def _choose(self, row: int, column: int) -> None:
        label = self._shown[row]
        if column == COLOUR:
            colour = qt.QColorDialog.getColor(qt.QColor.fromRgbF(*label.colour), self._table)
            if colour.isValid():
                self._replace(label, replace(label, colour=(colour.redF(), colour.greenF(), colour.blueF())))
        elif column == TERMINOLOGY:
            chosen = askTerminology(label.terminology, self._table)
            if chosen is not None:
                self._replace(label, replace(label, terminology=chosen))

    def _add(self) -> None:
        value = max([0, *(label.value for label in self._shown)]) + 1
        _value, name, colour, _terminology = default_label(value)
        self._session.setSchema(LabelSchema((*self._shown, Label(value, name, colour))))
        self.update()
        self._table.editItem(self._table.item(len(self._shown) - 1, NAME))

    def _remove(self) -> None:
        chosen = self._selected()
        self._session.setSchema(LabelSchema(tuple(label for label in self._shown if label not in chosen)))


def _isAmong(label: Label, labels: list[Label]) -> bool:
    """Whether it is one of them, one of whose entries may have been edited since."""
    return any(label.value == other.value or label.name == other.name for other in labels)
