"""Label maps that lie in a folder of results already: a batch writes over none that it has not made itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.files import replacing
from brbs.job import HEARTBEAT_SECONDS, JOB_FILE, JobReader
from brbs.result_table import (
    LABEL_MAP,
    SCAN_EVENT,
    ResultTable,
    read_parts,
    read_rows,
    result_identity,
    scan_identity,
)

from .SegmentationBatch import BATCH_FOLDER, TABLE_FILE

CORRECTED_FILE = "corrected.txt"  # in the batch's own folder: names of label maps that people have changed
PATIENCE_SECONDS = HEARTBEAT_SECONDS + 5.0  # a batch that runs gives a sign of life that often

Pairs = Sequence[tuple[Path, Path]]  # scans and the files of their label maps


class FormerResults:
    """What earlier batches have written to a folder, and which of it has been changed since.

    Files are known by their names, so that the folder may have been moved.

    Args:
        output: the folder of the results; it need not exist yet.

    Raises:
        InputError: the folder's table cannot be read.
    """

    def __init__(self, output: Path) -> None:
        self._output, self._table, job = output, output / TABLE_FILE, output / BATCH_FOLDER
        self._record = job / CORRECTED_FILE
        self._made = _listed(self._table) | _told(job)
        lastSign = max(_modified(self._table), _modified(job / JOB_FILE))
        recorded = set(self._record.read_text(encoding="utf-8").splitlines()) if self._record.is_file() else set()
        self._corrected = {
            name
            for name in self._made
            if _modified(output / name) > (0.0 if name in recorded else lastSign + PATIENCE_SECONDS)
        }

    def checkForeign(self, pairs: Pairs) -> None:
        """Refuses label maps in the place of files that no batch has made.

        Raises:
            InputError: names the first one.
        """
        for _scan, target in pairs:
            if os.path.exists(target) and _name(target) not in self._made:
                problem = _("{file}: is there already, made by no batch, and would be lost; choose another folder")
                raise InputError(problem.format(file=target))

    def checkCorrected(self, pairs: Pairs, model: Path, components: str) -> None:
        """Refuses label maps in the place of those that were changed after they had been made.

        Those of scans that the engine leaves out, as they are finished with this model, stay as they are.

        Args:
            pairs: the scans, which are on disk, and the files of their label maps.
            model: folder of the model.
            components: which connected pieces of structures stay; see :data:`brbs.components.COMPONENTS`.

        Raises:
            InputError: names the first one.
        """
        table = ResultTable(self._table, ())
        for scan, target in pairs:
            if _name(target) in self._corrected and not _isLeftOut(table, scan, target, model, components):
                problem = _("{file}: has been corrected, and the corrections would be lost; choose another folder")
                raise InputError(problem.format(file=target))

    def remember(self) -> None:
        """Notes what has been changed, before the table is renewed, which is what tells it.

        Raises:
            InputError: the note cannot be written.
        """
        if self._corrected or self._record.is_file():
            with replacing(self._record) as aside:
                aside.write_text("".join(f"{name}\n" for name in sorted(self._corrected)), encoding="utf-8")


def _listed(table: Path) -> set[str]:
    """Names of the label maps in a table and its parts."""
    return {_name(row[LABEL_MAP]) for row in [*read_rows(table), *read_parts(table)]}


def _told(job: Path) -> set[str]:
    """Names of the label maps that the last batch was at: one that was killed has not put its last into the table."""
    events = JobReader(job).events()[0]
    return {_name(event["output"]) for event in events if event.get("kind") == SCAN_EVENT and "output" in event}


def _isLeftOut(table: ResultTable, scan: Path, target: Path, model: Path, components: str) -> bool:
    """Whether the engine takes a scan for finished; so it does with one that cannot be read, which it only tells."""
    try:
        return table.is_finished(scan, target, result_identity(model, components), scan_identity(scan))
    except InputError:
        return True


def _name(path: str | Path) -> str:
    return os.path.normcase(Path(path).name)


def _modified(path: Path) -> float:
    """When a file was last written (Unix seconds); 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
