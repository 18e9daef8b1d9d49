"""A growing text in a plain text edit."""

from __future__ import annotations

import os

import qt

LANDMARK = 200  # letters from which the beginning of a text is known again


class LogView:
    """Shows a text that grows; where the user is reading, and what is selected, stays.

    Args:
        edit: a ``QPlainTextEdit``, which only this object fills.
    """

    def __init__(self, edit) -> None:
        self._edit, self._text = edit, ""
        edit.undoRedoEnabled = False  # it would keep all that was ever shown

    def show(self, text: str) -> None:
        """Shows the text; its end where that was in view before."""
        if text == self._text:
            return
        bar = self._edit.verticalScrollBar()
        atEnd = bar.value == bar.maximum
        self._leaveOut(max(0, self._text.find(text[:LANDMARK])))
        same = len(os.path.commonprefix([self._text, text]))
        self._replace(same, len(self._text), text[same:])
        self._text = text
        if atEnd:
            bar.setValue(bar.maximum)

    def _leaveOut(self, count: int) -> None:
        """Takes away the beginning, which a long log has lost; the lines in view stay there."""
        bar = self._edit.verticalScrollBar()
        below = bar.maximum - bar.value
        self._replace(0, count, "")
        self._text = self._text[count:]
        bar.setValue(bar.maximum - below)

    def _replace(self, first: int, last: int, text: str) -> None:
        if first == last and not text:
            return
        cursor = self._edit.textCursor()  # a copy, the user's own stays
        cursor.setPosition(_place(self._text, first))
        cursor.setPosition(_place(self._text, last), qt.QTextCursor.KeepAnchor)
        cursor.insertText(text)


def _place(text: str, index: int) -> int:
    """Where Qt, which counts in UTF-16, has a letter."""
    return len(text[:index].encode("utf-16-le", "surrogatepass")) // 2
