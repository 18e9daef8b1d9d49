"""A process of the engine that outlives Slicer, seen through its job's folder."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from brbs.errors import InputError

from .JobWatch import JobWatch
from .ProcessTree import askTreeToEnd

LOG_FILE = "log.txt"
BITE = 64 * 1024  # bytes of events taken at a time, so that the application never waits
ENDED_STATES = ("finished", "failed")
LOG_TAIL = 64 * 1024  # bytes of the log shown


class BackgroundJob:
    """A job, running, ended or interrupted; Slicer may have been closed in between.

    Args:
        folder: the job's.
        process: the engine's process, where this Slicer has started it.
    """

    def __init__(self, folder: Path, process: subprocess.Popen | None = None) -> None:
        self.folder = Path(folder)
        self._reader, self._process = JobWatch(self.folder, process), process
        self._offset = 0

    @property
    def readable(self) -> bool:
        """Whether there is a record of the job that can be understood."""
        try:
            return bool(self.description)
        except InputError:
            return False

    @property
    def state(self) -> str:
        """One of "queued", "running", "paused", "stopping", "finished" and "failed"."""
        return self._reader.state

    @property
    def active(self) -> bool:
        """Whether it has not ended yet, as far as is known."""
        return self.state not in ENDED_STATES

    @property
    def isOver(self) -> bool:
        """Whether it has ended for certain: it says so, or its process is gone. One that is only silent may go on."""
        content = self.description
        return content.get("state") in ENDED_STATES or self._reader.is_gone(content)

    @property
    def progress(self) -> float:
        """Done share, 0..1."""
        return self._reader.progress

    @property
    def message(self) -> str:
        """What the job last said; of one that failed, the reason, which may be the log's last lines."""
        if self.state != "failed" or self._reader.description.get("state") == "failed":
            return self._reader.message
        return "\n".join([_("It ended without a word; its last lines:"), *self.log().splitlines()[-5:]])

    @property
    def description(self) -> dict[str, Any]:
        """The content of ``job.json``."""
        return self._reader.description

    def events(self) -> list[dict[str, Any]]:
        """All events of the job so far."""
        return self._reader.events()[0]

    def newEvents(self) -> list[dict[str, Any]]:
        """The next events, at most a bite of them; empty when there are no more for now."""
        events, self._offset = self._reader.events(self._offset, BITE)
        return events

    def rewind(self) -> None:
        """Lets :meth:`newEvents` begin with the first one again."""
        self._offset = 0

    def log(self) -> str:
        """The end of what the engine has printed."""
        try:
            with (self.folder / LOG_FILE).open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - LOG_TAIL))
                text = stream.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        # A progress bar writes its line again and again, each time after a carriage return.
        return "\n".join(line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")).strip()

    def stop(self) -> None:
        """Asks the job to end; what it has done stays."""
        self._reader.request_stop()

    def kill(self) -> None:
        """Ends the process at once, where it runs on this computer; what it has written stays."""
        content = self._reader.description
        here = content.get("host") == platform.node()
        if not (here and self.active):
            return
        # What was started may be a launcher: it ends when the job does, and ends others that it has started.
        if pid := content.get("pid"):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        elif self._process is not None:
            askTreeToEnd(self._process)
