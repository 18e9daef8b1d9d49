"""A training that the panel watches: curves, samples and state come in, little by little."""

from __future__ import annotations

import os
import time

from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.job import JOB_FILE

from .BackgroundJob import ENDED_STATES
from .SampleView import showSample
from .TrainingJob import TrainingJob
from .TrainingPlots import TrainingPlots


class TrainingWatch:
    """Looks at a training from its first event on; one that has ended is read to its end, and no more.

    Args:
        job: the training; None: there is none.
        plots: emptied, then filled by its events.

    Attributes:
        job: the training.
        hasMore: whether events are waiting to be taken in.
        hasEnded: whether the last :meth:`poll` saw it end.
    """

    def __init__(self, job: TrainingJob | None, plots: TrainingPlots) -> None:
        self.job, self.hasMore, self.hasEnded = job, False, False
        self._plots = plots
        self._seen: tuple = ()
        self._isRead = self._sampleAwaited = False
        if job is not None:
            job.rewind()
        plots.clear()

    @property
    def isGone(self) -> bool:
        """Whether its record was deleted.

        Raises:
            InputError: its drive does not answer.
        """
        return self.job is not None and self._stamp() is None

    def requestSample(self) -> None:
        """Asks for a generated sample, which is shown as soon as it is there."""
        self.job.requestSample()
        self._sampleAwaited = True

    def poll(self) -> bool:
        """Takes in what is new; true when there is something to be shown.

        Raises:
            InputError: its record is damaged, or its drive does not answer.
        """
        self.hasMore = self.hasEnded = False
        stamp = None if self.job is None else self._stamp()
        if stamp is None or (self._isRead and stamp == self._seen[1]):
            return False
        self._takeEvents()
        return self._takeState(stamp)

    def _takeEvents(self) -> None:
        events = self.job.newEvents()
        self.hasMore = bool(events)
        self._plots.add(events)
        samples = [event for event in events if event.get("kind") == "sample"]
        if samples and self._sampleAwaited:
            self._sampleAwaited = False
            showSample(self.job.folder, samples[-1])

    def _takeState(self, stamp: tuple[int, ...]) -> bool:
        state, before = self.job.state, self._seen
        active = state not in ENDED_STATES
        # What was written before the end is there only after the end has been seen.
        self._isRead = not (active or self.hasMore) and before[:1] == (state,)
        second = round(time.monotonic()) if active else 0  # so that times and patience are shown as they go by
        self._seen = (state, stamp, second)
        self.hasEnded = bool(before) and state != before[0] and not active
        return self._seen != before

    def _stamp(self) -> tuple[int, ...] | None:
        """What is another one whenever the record is written anew; None: it is gone."""
        path = self.job.folder / JOB_FILE
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:  # Windows, while the file is replaced
            return ()
        except OSError as error:
            told = _("{path}: {reason}; connect its drive again").format(path=path, reason=error.strerror or error)
            raise InputError(told) from error
        return status.st_mtime_ns, status.st_size
