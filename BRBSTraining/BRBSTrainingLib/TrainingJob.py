"""A training in the background, as the panel and scripts see it."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from pathlib import Path
from typing import Any

from brbs.errors import InputError
from brbs.job import ACTIVE_STATES, JobReader
from brbs.model_folder import CHECKPOINT_FILE, TRAINING_FOLDER

LOG_FILE = "log.txt"
BITE = 64 * 1024  # bytes of events taken at a time, so that the application never waits
ENDED_STATES = ("finished", "failed")
LOG_TAIL = 64 * 1024  # bytes of the log shown


class TrainingJob:
    """A training of a model folder, running, ended or interrupted; Slicer may have been closed in between.

    Args:
        model: folder of the model bundle; the job lies in its ``training`` folder.
        process: the engine's process, where this Slicer has started it.
    """

    def __init__(self, model: Path, process: subprocess.Popen | None = None) -> None:
        self.model, self.folder = Path(model), Path(model) / TRAINING_FOLDER
        self._reader, self._process = JobReader(self.folder), process
        self._offset = 0
        self._seconds = 0.0

    @property
    def readable(self) -> bool:
        """Whether there is a record of the training that can be understood."""
        try:
            return self.folder.is_dir() and self.description is not None
        except InputError:
            return False

    @property
    def state(self) -> str:
        """One of "queued", "running", "paused", "stopping", "finished" and "failed"."""
        ended = self._process is not None and self._process.poll() is not None  # also buries the process
        state = self._reader.state
        return "failed" if ended and state in ("queued", "stopping", *ACTIVE_STATES) else state

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state not in ENDED_STATES

    @property
    def resumable(self) -> bool:
        """Whether it can be gone on with: it has a checkpoint and did not use up its budget."""
        return not self.active and (self.folder / CHECKPOINT_FILE).is_file() and self.progress < 1

    @property
    def progress(self) -> float:
        """Done share, 0..1."""
        return self._reader.progress

    @property
    def message(self) -> str:
        """What the job last said; of one that failed, the reason, which may be the log's last lines."""
        if self.state != "failed" or self._reader.description.get("state") == "failed":
            return self._reader.message
        return "\n".join(["The training ended without a word; its last lines:", *self.log().splitlines()[-5:]])

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
        for event in events:
            self._seconds = event.get("seconds", self._seconds)
        return events

    @property
    def elapsedSeconds(self) -> float:
        """Time trained, pauses not counted, as far as :meth:`newEvents` has been read."""
        return self._seconds

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

    def pause(self) -> None:
        """Asks the training to rest."""
        self._reader.request_pause()

    def resume(self) -> None:
        """Lets a resting training go on."""
        self._reader.resume()

    def stop(self) -> None:
        """Asks the training to end with a checkpoint and a model."""
        self._reader.request_stop()

    def requestSample(self) -> None:
        """Asks for a generated sample; an event "sample" tells when it is there."""
        self._reader.request_sample()

    def kill(self) -> None:
        """Ends the process at once, where it runs on this computer; the last checkpoint and model stay."""
        content = self._reader.description
        here = content.get("host") == platform.node()
        # What was started may be a launcher; the job itself knows its own number.
        pid = content.get("pid") or (self._process.pid if self._process else 0)
        if pid and self.active and here:
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
