"""A training in the background, as the panel and scripts see it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from brbs.model_folder import CHECKPOINT_FILE, TRAINING_FOLDER

from .BackgroundJob import BackgroundJob


class TrainingJob(BackgroundJob):
    """A training of a model folder.

    Args:
        model: folder of the model bundle; the job lies in its ``training`` folder.
        process: the engine's process, where this Slicer has started it.
    """

    def __init__(self, model: Path, process: subprocess.Popen | None = None) -> None:
        super().__init__(Path(model) / TRAINING_FOLDER, process)
        self.model = Path(model)
        self._seconds = 0.0

    @property
    def resumable(self) -> bool:
        """Whether it can be gone on with: it has a checkpoint and did not use up its budget."""
        return not self.active and (self.folder / CHECKPOINT_FILE).is_file() and self.progress < 1

    def newEvents(self) -> list[dict[str, Any]]:
        """The next events, at most a bite of them; empty when there are no more for now."""
        events = super().newEvents()
        for event in events:
            self._seconds = event.get("seconds", self._seconds)
        return events

    @property
    def elapsedSeconds(self) -> float:
        """Time trained, pauses not counted, as far as :meth:`newEvents` has been read."""
        return self._seconds

    def pause(self) -> None:
        """Asks the training to rest."""
        self._reader.request_pause()

    def resume(self) -> None:
        """Lets a resting training go on."""
        self._reader.resume()

    def requestSample(self) -> None:
        """Asks for a generated sample; an event "sample" tells when it is there."""
        self._reader.request_sample()
