"""Many scans with one model: one after the other, each by itself; what is finished stays."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .errors import InputError, first_line
from .job import JobWriter
from .result_table import (
    FAILED,
    FINISHED,
    RUNNING,
    SCAN_EVENT,
    SKIPPED,
    WAITING,
    ResultTable,
    scan_identity,
)
from .segmentation_job import Result, SegmentationJob, Segmenter
from .shared_batch import KeptEvents

log = logging.getLogger("brbs")


class StopRequested(Exception):
    """The batch was asked to end."""


def summary(counts: Counter[str], scans: int) -> str:
    """How many of so many scans have come to what, in a few words."""
    told = [f"{counts[state]} {state}" for state in (FINISHED, SKIPPED, FAILED) if counts[state]]
    return f"{', '.join(told) or 'nothing done'} of {scans} scans"


class Batch:
    """Segments scan after scan; one that cannot be segmented does not stop the others.

    Args:
        scans: what is to be done, all with one model.
        identity: of the model and options, see :func:`brbs.result_table.result_identity`.
        table: takes a row a scan; None: no table. While it cannot be written, the batch goes on; then
            :meth:`brbs.result_table.ResultTable.catch_up` is left to be called after it.
        skip_finished: leave out scans that the table tells are finished with this model and these options.
        watcher: is told the state of each scan by events "scan" {input, output, state, message, volumes, confidence},
            state one of "running", "finished", "failed", "skipped" and, after a stop, "waiting"; None: nobody.
    """

    def __init__(
        self,
        scans: Sequence[SegmentationJob],
        identity: str,
        table: ResultTable | None = None,
        skip_finished: bool = False,
        watcher: JobWriter | KeptEvents | None = None,
    ) -> None:
        self._scans, self._identity, self._table = scans, identity, table
        self._skip, self._watcher = skip_finished, watcher
        self._segmenter = Segmenter()
        self.counts: Counter[str] = Counter()

    def run(self) -> bool:
        """Goes through all scans.

        Returns:
            False when it was asked to stop before the end; the scan then at work counts as waiting, though its label
            map is there already if only the confidence was lacking.

        Raises:
            InputError: the watcher's folder cannot be written.
        """
        for done, scan in enumerate(self._scans):
            self._say(done, f"scan {done + 1} of {len(self._scans)}: {scan.input.name}")
            try:
                self._check()
                state = self._segment(scan)
            except StopRequested:
                self._tell(scan, WAITING)
                return False
            self.counts[state] += 1
        self._say(len(self._scans), summary(self.counts, len(self._scans)))
        return True

    def _segment(self, scan: SegmentationJob) -> str:
        """Returns the state that the scan has come to."""
        content = ""
        try:
            if self._table is not None:
                content = scan_identity(scan.input)
                if self._skip and self._table.is_finished(scan.input, scan.output, self._identity, content):
                    return self._skipped(scan, self._table)
            self._tell(scan, RUNNING)
            result = self._segmenter.run(scan, check=self._check)
        except StopRequested:
            raise
        except Exception as error:  # whatever is wrong with one scan, the next one may be well
            return self._failed(scan, error)
        return self._finished(scan, result, content)

    def _skipped(self, scan: SegmentationJob, table: ResultTable) -> str:
        volumes, confidence = table.findings(scan.input)
        self._tell(scan, SKIPPED, volumes=volumes, confidence=confidence)
        return SKIPPED

    def _finished(self, scan: SegmentationJob, result: Result, content: str) -> str:
        found: dict[str, Any] = {"volumes": result.volumes, "confidence": result.confidence}
        self._note(scan, FINISHED, result.message, content=content, **found)
        log.info("%s -> %s%s", scan.input, scan.output, f" ({result.message})" if result.message else "")
        self._tell(scan, FINISHED, result.message, **found)
        return FINISHED

    def _failed(self, scan: SegmentationJob, error: Exception) -> str:
        if isinstance(error, InputError):
            message = str(error)
            log.error("%s", message)
        else:
            message = f"{scan.input}: {first_line(error)}"
            log.exception("%s", scan.input)
        self._note(scan, FAILED, message)
        self._tell(scan, FAILED, message)
        return FAILED

    def _note(self, scan: SegmentationJob, state: str, message: str, **found: Any) -> None:
        """Puts a scan into the table."""
        if self._table is None:
            return
        try:
            self._table.put(scan.input, scan.output, state, message, model=self._identity, **found)
        except InputError as error:  # which concerns no scan, and is tried again after the next
            log.warning("%s; the batch goes on", error)

    def _check(self) -> None:
        if self._watcher is not None and self._watcher.stop_requested:
            raise StopRequested

    def _say(self, done: int, message: str) -> None:
        if self._watcher is not None:
            self._watcher.update(progress=done / max(len(self._scans), 1), message=message)

    def _tell(self, scan: SegmentationJob, state: str, message: str = "", **found: Any) -> None:
        if self._watcher is not None:
            self._watcher.event(SCAN_EVENT, input=scan.input, output=scan.output, state=state, message=message, **found)
