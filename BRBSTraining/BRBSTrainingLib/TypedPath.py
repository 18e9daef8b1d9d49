"""A path that is being typed."""

from __future__ import annotations

from collections.abc import Callable

import qt

PAUSE_MILLISECONDS = 500  # without a key, after which a path counts as typed


class TypedPath:
    """Tells of a path once it is whole: the edit itself tells of each key, so of parent folders on the way, too.

    Args:
        edit: a ``ctkPathLineEdit``.
        action: what is done with the path.
    """

    def __init__(self, edit, action: Callable[[str], object]) -> None:
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MILLISECONDS)
        self._timer.connect("timeout()", lambda: action(edit.currentPath))
        edit.connect("currentPathChanged(QString)", lambda path: self._timer.start())

    def close(self) -> None:
        """Tells no more of what has been typed so far."""
        self._timer.stop()
