"""The engine's worker: a process with the model loaded, so that the second scan is quick."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from slicer.i18n import tr as _

from brbs.worker_client import WorkerClient
from BRBSTrainingLib.Engine import NAMELESS, Engine
from BRBSTrainingLib.ProcessTree import endTree


class SegmentationWorker:
    """Starts the worker when it is needed, again when it has died, and ends it with the application.

    Args:
        engine: which Python to run it in.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._process: subprocess.Popen | None = None
        self._python = ""
        self._count = 0

    @property
    def folder(self) -> Path:
        """For requests, scans and results on their way; the process removes it if this one dies."""
        return self._home / f"worker {self._count}"

    @property
    def client(self) -> WorkerClient:
        """To send requests with, and to read answers."""
        return WorkerClient(self.folder)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process unless it runs; a new one after the engine's Python has been changed.

        Raises:
            InputError: it cannot be started.
        """
        if self.alive and self._python == self._engine.python:
            return
        self._end()
        self._count += 1  # what a dead worker has left behind does not concern its successor
        self._python = self._engine.python
        options = ["--folder", self.folder, "--parent", os.getpid()]
        self._process = self._engine.start([*NAMELESS, "worker", *options], self._log)

    def close(self) -> None:
        """Ends the process and removes its files."""
        self._end()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    @property
    def lastLine(self) -> str:
        """What the process said last: why it died, if it did."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return (text.strip().splitlines() or [_("it printed nothing")])[-1]

    @property
    def _home(self) -> Path:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="BRBS-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)

    @property
    def _log(self) -> Path:
        return self._home / f"worker {self._count}.txt"

    def _end(self) -> None:
        if self.alive:
            self.client.stop()
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                endTree(self._process)
        self._process = None
