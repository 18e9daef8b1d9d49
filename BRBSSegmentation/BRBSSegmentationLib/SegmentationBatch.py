"""Many scans on their way through the engine, in the background."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.image_files import bare_name
from brbs.label_schema import Label, LabelSchema
from brbs.model_description import read_description
from brbs.result_table import RUNNING, SCAN_EVENT, WAITING
from brbs.scan_files import listed_scans
from brbs.volumes import read_label_schema
from BRBSTrainingLib.BackgroundJob import BackgroundJob

from .ResultNode import UNMOVED, noteConfidence, noteOrigin, showResult

BATCH_FOLDER = "BRBS batch"  # in the folder of the results
LIST_FILE, EXPORTS = "scans.txt", "scans"
TABLE_FILE = "segmentations.csv"


@dataclass(frozen=True)
class BatchScan:
    """A scan of a batch.

    Attributes:
        scan: its file.
        state: "waiting", "running", "finished", "failed" or "skipped" (finished by an earlier batch).
        labels: the label map's file; None as long as it is not known.
        message: what people should know.
        volumes: mL by structure.
        confidence: 0..1 by structure, or None where nothing was found and nothing expected.
    """

    scan: Path
    state: str = WAITING
    labels: Path | None = None
    message: str = ""
    volumes: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float | None] = field(default_factory=dict)


class SegmentationBatch(BackgroundJob):
    """A batch whose results go to a folder; it goes on when Slicer is closed, and is found again by that folder.

    Args:
        output: folder of the results.
        process: the engine's process, where this Slicer has started it.

    Attributes:
        output: folder of the results.
        scans: all of them by their files, as far as :meth:`poll` has read.
    """

    def __init__(self, output: Path, process: subprocess.Popen | None = None) -> None:
        super().__init__(Path(output) / BATCH_FOLDER, process)
        self.output, self._tidied, self._seenState = Path(output), False, ""
        try:
            listed = listed_scans(self.folder / LIST_FILE)
        except InputError:  # none was begun here
            listed = []
        self.scans = {scan: BatchScan(scan) for scan in listed}

    @property
    def active(self) -> bool:
        """Whether it has not ended yet, as far as is known."""
        return not self._tidied and super().active

    @property
    def model(self) -> Path | None:
        """Folder of the model; None where the job's record is gone or damaged."""
        try:
            named = self.description.get("model")
        except InputError:
            return None
        return Path(named) if named else None

    @property
    def table(self) -> Path:
        """The CSV file of volumes and confidences."""
        return self.output / TABLE_FILE

    def poll(self) -> bool:
        """Takes in what the engine has done; true when something has changed."""
        if self._tidied:
            return False
        events = [event for event in self.newEvents() if event.get("kind") == SCAN_EVENT]
        for event in events:
            scan = Path(event["input"])
            found = (event.get("volumes") or {}, event.get("confidence") or {})
            self.scans[scan] = BatchScan(scan, event["state"], Path(event["output"]), event.get("message", ""), *found)
        if not events and self.isOver:
            self._tidy()
            return True
        before, self._seenState = self._seenState, self.state
        return bool(events) or self._seenState != before

    def lack(self, scan: Path) -> str:
        """Why a scan of it cannot be loaded, for people; empty: it can be."""
        if self.isExport(scan):
            text = _("{name}: was only in the scene and is gone from it; load it again")
        elif not scan.exists():
            text = _("{path}: no such file; put it back")
        else:
            return ""
        told = text.format(name=bare_name(scan), path=scan)
        return _("{told}. Its segmentation is shown without it.").format(told=told)

    def isExport(self, scan: Path) -> bool:
        """Whether a scan is a copy that was made for the batch alone."""
        return self.folder / EXPORTS in scan.parents

    def _tidy(self) -> None:
        """Scans that were exported for the batch alone are not needed any longer; one at work is waiting again."""
        self._tidied = True
        shutil.rmtree(self.folder / EXPORTS, ignore_errors=True)
        for scan in self.scans.values():
            if scan.state == RUNNING:
                self.scans[scan.scan] = BatchScan(scan.scan)


def loadResult(scan: BatchScan, volumeNode, batch: SegmentationBatch):
    """Puts a finished scan's result into the scene.

    Args:
        scan: of the batch.
        volumeNode: it, loaded; None: it is not in the scene.
        batch: names and colours come from its model where the label map's file has none; otherwise the model need not
            be there.

    Returns:
        The vtkMRMLSegmentationNode.

    Raises:
        InputError: the label map is gone or cannot be read.
    """
    labels = () if read_label_schema(scan.labels) else _modelLabels(scan, batch)
    exported = None if batch.isExport(scan.scan) else UNMOVED
    node = showResult(scan.labels, volumeNode, labels=labels, exported=exported)
    noteConfidence(node, scan.confidence or None)
    noteOrigin(node, volumeNode, batch.model)
    return node


def _modelLabels(scan: BatchScan, batch: SegmentationBatch) -> tuple[Label, ...]:
    if batch.model is None:
        problem = _("{file}: names no structures, and which model has made it is not known; segment the scan again")
        raise InputError(problem.format(file=scan.labels))
    return LabelSchema.from_json(read_description(batch.model)["labels"]).labels
