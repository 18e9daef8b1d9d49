"""Files and folders dropped on a widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt

FILTER = "(*.nii.gz *.nii *.nrrd *.nhdr *.mha *.mhd)"  # of file dialogues


class FileDrop(qt.QObject):
    """Passes the paths of dropped files and folders to a function.

    Args:
        widget: a scroll area; files may be dropped on its view.
        take: called with the list of paths.
    """

    def __init__(self, widget, take: Callable[[list[Path]], None]) -> None:
        qt.QObject.__init__(self)
        self._view, self._take = widget.viewport(), take
        widget.setAcceptDrops(True)
        self._view.setAcceptDrops(True)
        self._view.installEventFilter(self)

    def eventFilter(self, watched, event) -> bool:
        """Qt's hook: true when the event is dealt with."""
        kind = event.type()
        if kind not in (qt.QEvent.DragEnter, qt.QEvent.DragMove, qt.QEvent.Drop) or not hasattr(event, "mimeData"):
            return False
        if not event.mimeData().hasUrls():
            return False
        event.acceptProposedAction()
        if kind == qt.QEvent.Drop:
            paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
            # The sender of the drag waits until this returns; a message shown now would freeze it.
            qt.QTimer.singleShot(0, lambda: self._take(paths))
        return True
