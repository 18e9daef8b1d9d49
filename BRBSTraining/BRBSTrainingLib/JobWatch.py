"""Whether a job lives, as a watcher sees it who can wait."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from brbs.job import HEARTBEAT_SECONDS, SILENCE_SECONDS, JobReader

# By folder, as several objects may watch one job: its last heartbeat, when it was looked at, and for how many seconds
# it has been seen silent.
_seen: dict[Path, tuple[float | None, float, float]] = {}


class JobWatch(JobReader):
    """Trusts the job's process where this Slicer has started it, and otherwise what it has seen of the job itself.

    Times of day tell too little: a job of a computer that has slept was silent for long, the start of the engine may
    take minutes, and clocks of other computers differ.

    Args:
        folder: the job's.
        process: the engine's process, where this Slicer has started it.
    """

    def __init__(self, folder: Path, process: subprocess.Popen | None = None) -> None:
        super().__init__(folder)
        self._process = process

    def is_gone(self, content: dict[str, Any]) -> bool:
        """As :meth:`JobReader.is_gone`; also of a job whose process has ended before it began."""
        if self._process is None:
            return super().is_gone(content)
        ended = self._process.poll() is not None  # also buries the process
        # Somebody else may go on with it since.
        return ended and (content.get("state", "queued") == "queued" or super().is_gone(content))

    def is_silent(self, content: dict[str, Any]) -> bool:
        """Whether a job without living process of ours was seen silent for a minute in all.

        Between two looks this computer may have slept, so that they count for one heartbeat at most.
        """
        if self._process is not None and self._process.poll() is None:
            return False
        heartbeat, now = content.get("heartbeat"), time.monotonic()
        before, looked, seconds = _seen.get(self.folder, (None, now, 0.0))
        seconds = seconds + min(now - looked, HEARTBEAT_SECONDS) if heartbeat == before else 0.0
        _seen[self.folder] = heartbeat, now, seconds
        return seconds > SILENCE_SECONDS
