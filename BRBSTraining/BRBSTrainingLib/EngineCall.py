"""A short-lived process of the engine whose answer is awaited without blocking."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slicer.i18n import tr as _

from .Engine import Engine
from .ProcessTree import endTree


class EngineCall:
    """A running engine process; what it prints goes to a temporary file.

    Args:
        engine: which Python to start.
        arguments: what follows ``python``.
        own: in Slicer's Python, whatever the user has chosen for the engine.

    Raises:
        InputError: it cannot be started.
    """

    def __init__(self, engine: Engine, arguments: Sequence[str], own: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="BRBS-", ignore_cleanup_errors=True)
        self._output = Path(self._folder.name) / "output.txt"
        self._process: subprocess.Popen = engine.start(arguments, self._output, own=own)

    @property
    def exitCode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def text(self) -> str:
        """What it has printed."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def lastLine(self) -> str:
        """The last line it has printed: what went wrong, if something did."""
        return (self.text.strip().splitlines() or [_("it printed nothing")])[-1]

    def close(self) -> None:
        """Ends the process, if it still runs, and removes what it printed."""
        endTree(self._process)
        self._folder.cleanup()
