"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait(condition: Callable[[], object], seconds: float = 90.0, between: Callable[[], object] = lambda: None) -> None:
    """Waits until something is so; ``between`` is called between two looks.

    Raises:
        AssertionError: it did not come about in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen in {seconds} s"
        between()
        time.sleep(0.01)
