"""The engine's settings as a form, made from their definitions."""

from __future__ import annotations

import types
import typing
from dataclasses import fields

import qt
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.settings import Settings

from .StudySession import StudySession

AUTOMATIC = "automatic"


class AdvancedForm:
    """One row for each field of :class:`brbs.settings.Settings`: name, help and choices come from there.

    Args:
        layout: a ``QFormLayout``; rows are added to it.
        session: the panel's state.
        guard: runs a function and shows what is wrong with its input.
    """

    def __init__(self, layout, session: StudySession, guard) -> None:
        self._session, self._guard = session, guard
        self._shown = None  # the study
        hints = typing.get_type_hints(Settings)
        self._widgets = {}
        for item in fields(Settings):
            widget = self._choice(item) if item.metadata["choices"] else self._line(item, hints[item.name])
            widget.objectName = f"setting_{item.name}"
            widget.toolTip = _(item.metadata["help"])
            label = qt.QLabel(item.name.replace("_", " ").capitalize() + ":")
            label.toolTip = widget.toolTip
            layout.addRow(label, widget)
            self._widgets[item.name] = widget

    def update(self) -> None:
        """Shows the study's settings as they are now; what is just being typed stays."""
        study = self._session.study
        other, self._shown = study is not self._shown, study
        for name, widget in self._widgets.items():
            widget.enabled = study is not None
            text = settingText(getattr(study.study.settings, name)) if study else ""
            if hasattr(widget, "setCurrentText"):
                widget.blockSignals(True)
                widget.setCurrentText(text)
                widget.blockSignals(False)
            elif widget.text != text and (other or not widget.modified):
                widget.text = text

    def _choice(self, item):
        widget = qt.QComboBox()
        widget.addItems(list(item.metadata["choices"]))
        widget.connect("currentTextChanged(QString)", lambda text: self._set(item.name, text))
        return widget

    def _line(self, item, hint):
        widget = qt.QLineEdit()
        widget.connect("editingFinished()", lambda: self._typed(item.name, widget, hint))
        return widget

    def _typed(self, name: str, widget, hint) -> None:
        widget.modified = False
        self._set(name, settingValue(widget.text, hint))

    def _set(self, name: str, value) -> None:
        if self._session.study is None or getattr(self._session.study.study.settings, name) == value:
            return

        def change() -> None:
            try:
                self._session.changeStudy(lambda study: study.changeSetting(name, value))
            except InputError:
                self.update()
                raise

        self._guard(change)


def settingText(value) -> str:
    """A setting's value as it is shown and typed."""
    if value is None:
        return AUTOMATIC
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def settingValue(text: str, hint):
    """The typed text as a value of the annotated type; what cannot be read stays text, for the settings to refuse."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return None if text.strip() in ("", AUTOMATIC) else settingValue(text, parts[0])
    try:
        if typing.get_origin(hint) is tuple:
            return tuple(parts[0](word) for word in text.replace(",", " ").split())
        return hint(text.strip())
    except ValueError:
        return text
