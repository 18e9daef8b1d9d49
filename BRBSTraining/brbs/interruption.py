"""Ctrl-C and SIGTERM as a wish to end well."""

from __future__ import annotations

import signal
import threading
from types import TracebackType

_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last is Windows' own


class Interruption:
    """Notices Ctrl-C and SIGTERM in a ``with`` block; outside the main thread they are left alone."""

    def __init__(self) -> None:
        self._happened = threading.Event()
        self._before: dict[int, object] = {}

    @property
    def happened(self) -> bool:
        """Whether one has come."""
        return self._happened.is_set()

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
            self._before = {number: signal.signal(number, lambda *_: self._happened.set()) for number in numbers}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
