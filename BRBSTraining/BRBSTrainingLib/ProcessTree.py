"""Ends a process together with those that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

PATIENCE = 5.0  # seconds


def endTree(process: subprocess.Popen) -> None:
    """Ends a process of :class:`Engine` at once, with all that it has started, and waits for its end.

    Slicer's Python is a launcher whose child is the interpreter; ended alone, it would leave that at work.
    """
    if process.poll() is None:
        _signalAll(process.pid, "SIGKILL")
        process.kill()
        process.wait()


def askTreeToEnd(process: subprocess.Popen) -> None:
    """As :func:`endTree`, but PyTorch's launcher ends its processes before, which are out of reach of others."""
    if process.poll() is None:
        _signalAll(process.pid, "SIGTERM")
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            endTree(process)


def _signalAll(pid: int, name: str) -> None:
    if os.name == "nt":
        command = ["taskkill", "/T", "/F", "/PID", str(pid)]
        with suppress(OSError):
            subprocess.run(command, creationflags=subprocess.CREATE_NO_WINDOW, capture_output=True, check=False)
    else:
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses where all have ended already
            os.killpg(pid, getattr(signal, name))
