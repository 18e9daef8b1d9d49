"""Ends a process together with those that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress


def endTree(process: subprocess.Popen) -> None:
    """Ends a process of :class:`Engine` at once, with all that it has started, and waits for its end.

    Slicer's Python is a launcher whose child is the interpreter; ended alone, it would leave that at work.
    """
    if process.poll() is None:
        _endAll(process.pid)
        process.kill()
        process.wait()


def _endAll(pid: int) -> None:
    if os.name == "nt":
        command = ["taskkill", "/T", "/F", "/PID", str(pid)]
        with suppress(OSError):
            subprocess.run(command, creationflags=subprocess.CREATE_NO_WINDOW, capture_output=True, check=False)
    else:
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses where all have ended already
            os.killpg(pid, signal.SIGKILL)
