"""A batch that several processes share: each does its part, the first tells of all and writes the table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .job import JobReader, JobWriter
from .result_table import ResultTable


@dataclass(frozen=True)
class Share:
    """What a process has done.

    Attributes:
        complete: it was not asked to stop before the end.
        counts: of its scans by state.
        rows: of the table, unless this process wrote the table itself.
        events: that a watcher is to be told of, unless this process told them itself.
    """

    complete: bool
    counts: Counter[str]
    rows: list[dict[str, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


def take_shares(
    shares: Sequence[Share], scans: Sequence[Path], table: ResultTable | None, watcher: JobWriter | None
) -> Share:
    """Puts together what all processes have done.

    Args:
        shares: of each process.
        scans: of all of them, in the order of the table.
        table: takes the rows; None: no table.
        watcher: is told the events; None: nobody.

    Returns:
        The whole.

    Raises:
        InputError: the table or the watcher's folder cannot be written.
    """
    if table is not None and len(shares) > 1:
        table.take([row for share in shares for row in share.rows], scans)
    for event in (event for share in shares for event in share.events):
        if watcher is not None:
            watcher.event(**event)
    return Share(all(share.complete for share in shares), sum((share.counts for share in shares), Counter()))


class KeptEvents:
    """The :class:`brbs.job.JobWriter` of a process that is not the first: what there is to tell is kept for later.

    Args:
        folder: the job's, where it may be asked to stop; None: nobody watches.
    """

    def __init__(self, folder: str | None) -> None:
        self._reader = JobReader(folder) if folder else None
        self.events: list[dict[str, Any]] = []

    @property
    def stop_requested(self) -> bool:
        """Whether the job has been asked to end."""
        return self._reader is not None and self._reader.stop_requested

    def update(self, **_: Any) -> None:
        """The first process tells how far the batch is."""

    def event(self, kind: str, **values: Any) -> None:
        """Keeps an event with the time at which it happened."""
        self.events.append({"kind": kind, "time": time.time(), **values})
