"""The panel's queue of many scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.result_table import FAILED, FINISHED, RUNNING, SKIPPED, WAITING
from brbs.scan_files import ALL, folder_scans, is_folder_of_scans
from BRBSTrainingLib.Engine import Engine
from BRBSTrainingLib.FileDrop import FileDrop
from BRBSTrainingLib.RowTable import BAD, BUSY, GOOD, ODD, Row, RowTable
from BRBSTrainingLib.SceneNode import SceneNode
from BRBSTrainingLib.SceneScans import sceneScans
from BRBSTrainingLib.Section import onClick
from BRBSTrainingLib.TypedPath import TypedPath

from .BatchPreparation import BatchPreparation
from .Confidence import absentText, confidenceAdvice, confidenceMark, weakest, weakestText
from .SegmentationBatch import BatchScan, SegmentationBatch
from .SegmentationRun import componentsOf


class BatchSection:
    """Lets the user gather scans, has them segmented into a folder, and shows how far each one is.

    Args:
        ui: the panel's widgets.
        engine: runs the batch.
        guard: runs a function and shows what is wrong with its input.
        model: gives the chosen model; None: none.
        device: gives the chosen device.
        open: shows a scan's result in the scene; called with the volume node (None: to be loaded), and the scan.
    """

    def __init__(self, ui, engine: Engine, guard, model: Callable, device: Callable[[], str], open: Callable) -> None:
        self._ui, self._engine, self._model, self._device, self._open = ui, engine, model, device, open
        self._queue: dict[SceneNode | Path, str] = {}  # volumes and files, with their names
        self._isOwn = False  # the list is the user's, not that of the batch in the folder
        self._files: dict[SceneNode, Path] = {}
        self._preparation: BatchPreparation | None = None
        self._batch: SegmentationBatch | None = None
        self._problem = ""  # of the batch's record, as it was told
        self._parameters = None
        self._table = RowTable(ui.batchTable, [_("Scan"), _("State"), _("Weakest")])
        self._drop = FileDrop(ui.batchTable, lambda paths: guard(lambda: self._addPaths(paths)))
        actions = {
            ui.addBatchVolumesButton: self._addVolumes,
            ui.addBatchFolderButton: self._chooseFolder,
            ui.removeBatchButton: self._remove,
            ui.startBatchButton: self._start,
            ui.stopBatchButton: self._stop,
            ui.openBatchResultButton: self._show,
        }
        onClick(actions, guard)
        ui.batchTable.connect("itemSelectionChanged()", self.updateButtons)
        ui.batchOutputEdit.connect("currentPathChanged(QString)", lambda path: guard(lambda: self._keepOutput(path)))
        self._typed = TypedPath(ui.batchOutputEdit, lambda path: guard(self._takeUp))

    def close(self) -> None:
        """Waits no longer for a path that is being typed; a batch goes on."""
        self._typed.close()

    @property
    def isPreparing(self) -> bool:
        """Whether volumes of the scene are being written for a batch."""
        return self._preparation is not None

    @property
    def busy(self) -> bool:
        """Whether scans are being segmented."""
        return self.isPreparing or (self._batch is not None and _isActive(self._batch))

    def setParameters(self, parameters) -> None:
        """Follows another parameter node; None: none.

        A scene without a folder for results keeps the one shown; so does every scene while a batch runs.
        """
        self._parameters = parameters
        if parameters is None:
            return
        if parameters.batchFolder and not self.busy:
            self._ui.batchOutputEdit.currentPath = parameters.batchFolder
        else:
            parameters.batchFolder = self._ui.batchOutputEdit.currentPath

    def leaveScene(self) -> None:
        """The scene is closed: its volumes leave the list; those of a batch stay, so that it can be followed."""
        if self._preparation is not None:
            self._stop()
        self._queue = {
            key: name for key, name in self._queue.items() if isinstance(key, Path) or self._scan(key) is not None
        }
        self._isOwn = self._isOwn and bool(self._queue)
        self.update()

    def tick(self) -> bool:
        """Takes in what has been done; true when something has changed.

        Raises:
            InputError: the batch could not be started, or its record cannot be read; that is told once.
        """
        if self._preparation is not None:
            self._prepare()
            return True
        return self._batch is not None and self._follow(self._batch)

    def update(self) -> None:
        """Shows the queue as it is now."""
        self._table.show([self._row(key, name) for key, name in self._queue.items()])
        try:
            done, text = self._progress(), self._stateText()
        except InputError as error:
            done, text = 0.0, str(error)
        self._ui.batchProgressBar.setValue(round(1000 * done))
        self._ui.batchStateLabel.text = text
        self.updateButtons()

    def updateButtons(self) -> None:
        """Enables what can be done now."""
        busy = self.busy  # looks at the disk
        selected, blocker = self._table.selected(), self._blocker(busy)
        self._ui.startBatchButton.enabled = blocker is None
        self._ui.startBatchButton.toolTip = blocker or _("Segment all scans of the list in the background.")
        self._ui.stopBatchButton.enabled = busy
        self._ui.batchOutputEdit.enabled = not busy
        for button in (self._ui.addBatchVolumesButton, self._ui.addBatchFolderButton):
            button.enabled = not busy
        self._ui.removeBatchButton.enabled = bool(selected) and not busy
        self._ui.openBatchResultButton.enabled = len(selected) == 1 and self._isDone(selected[0])

    def _blocker(self, busy: bool) -> str | None:
        if self._model() is None:
            return _("Choose a model first.")
        if not self._queue:
            return _("Add scans to the list first.")
        if not self._ui.batchOutputEdit.currentPath:
            return _("Choose a folder for the results first.")
        return _("Scans are being segmented.") if busy else None

    # ---- the queue

    def _addVolumes(self) -> None:
        scans = sceneScans()
        if not scans:
            raise InputError(_("The scene holds no volumes."))
        self._add({SceneNode(node): node.GetName() for node in scans})

    def _chooseFolder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.batchTable, _("Folder of scans"))
        if folder:
            self._addPaths([Path(folder)])

    def _addPaths(self, paths: list[Path]) -> None:
        pattern = self._ui.batchPatternEdit.text.strip() or ALL
        for path in paths:
            found = folder_scans(path, pattern) if is_folder_of_scans(path) else [path]
            self._add({scan.absolute(): scan.name for scan in found})

    def _add(self, entries: dict) -> None:
        if not self.busy and all(self._isDone(key) for key in self._queue):
            self._forget()  # a new list begins
        self._queue |= entries
        self._isOwn = True
        self.update()

    def _remove(self) -> None:
        for key in self._table.selected():
            del self._queue[key]
        self._isOwn = bool(self._queue)
        self.update()

    def _forget(self) -> None:
        self._queue, self._files, self._batch, self._isOwn = {}, {}, None, False

    # ---- the batch

    def _keepOutput(self, path: str) -> None:
        if self._parameters is not None:
            self._parameters.batchFolder = path

    @property
    def _output(self) -> Path:
        return Path(self._ui.batchOutputEdit.currentPath).absolute()

    def _takeUp(self) -> None:
        """Turns to the batch of the folder; its scans take the place of a list that is not the user's own."""
        if self.busy or self._batch is not None and self._batch.output == self._output:
            return
        batch = SegmentationBatch(self._output) if self._ui.batchOutputEdit.currentPath else None
        isThere = batch is not None and batch.readable and bool(batch.scans)
        self._batch, self._problem = batch if isThere else None, ""
        self._queue = {key: name for key, name in self._queue.items() if self._isOwn and _input(key) is not None}
        self._isOwn = bool(self._queue)
        if self._isOwn and not any(map(self._scan, self._queue)):  # a batch of other scans
            self._batch = None
        if self._batch is not None:
            self._batch.poll()
            self._queue = self._queue or {scan: scan.name for scan in self._batch.scans}
        self.update()

    def _start(self) -> None:
        self._takeUp()  # where the folder was typed just now
        queue = {key: name for key, name in self._queue.items() if _input(key) is not None}
        inputs = [_input(key) for key in queue]
        output = Path(self._ui.batchOutputEdit.currentPath)
        chosen = self._device(), self._parameters.batchFormat, componentsOf(self._parameters)
        self._preparation = BatchPreparation(self._engine, inputs, self._model().folder, output, *chosen)
        files = self._preparation.files
        self._queue, self._files = queue, {key: files[key] for key in queue if key in files}
        self.update()

    def _prepare(self) -> None:
        try:
            if self._preparation.step():
                self._batch, self._preparation = self._preparation.batch, None
        except InputError:
            self._preparation.cancel()
            self._preparation = None
            raise
        finally:
            self.update()

    def _follow(self, batch: SegmentationBatch) -> bool:
        try:
            changed = batch.poll() or bool(self._problem)
        except InputError as error:
            if str(error) == self._problem:
                return False
            self._problem = str(error)
            self.update()
            raise
        if changed:
            self._problem = ""
            self.update()
        return changed

    def _stop(self) -> None:
        if self._preparation is not None:
            self._preparation.cancel()
            self._preparation = None
        else:
            self._batch.stop()
        self.update()

    def _show(self) -> None:
        key = self._table.selected()[0]
        self._open(None if isinstance(key, Path) else key.node, self._scan(key), self._batch)

    # ---- texts

    def _scan(self, key) -> BatchScan | None:
        """What is known of a scan; None: nothing, as while a batch that takes the place of the last is prepared."""
        path = key if isinstance(key, Path) else self._files.get(key)
        known = self._preparation is None and self._batch is not None and path is not None
        return self._batch.scans.get(path) if known else None

    def _isDone(self, key) -> bool:
        scan = self._scan(key)
        return scan is not None and scan.state in (FINISHED, SKIPPED)

    def _row(self, key, name: str) -> Row:
        scan = self._scan(key) or BatchScan(Path())
        text = {
            WAITING: _("waiting"),
            RUNNING: _("segmenting…"),
            FINISHED: _("done"),
            SKIPPED: _("done before"),
            FAILED: _("failed"),
        }[scan.state]
        where = str(key) if isinstance(key, Path) else name
        if not scan.confidence:
            mark = BAD if scan.state == FAILED else GOOD if self._isDone(key) else BUSY
            return Row(key, (name, text, ""), mark, "\n".join(filter(None, [scan.message, where])))
        light = confidenceMark(weakest(scan.confidence)[1])
        told = [scan.message, confidenceAdvice(light), absentText(scan.confidence), where]
        # Red is for scans that could not be segmented.
        mark = ODD if light == BAD else light
        return Row(key, (name, text, weakestText(scan.confidence)), mark, "\n".join(filter(None, told)))

    def _progress(self) -> float:
        return self._batch.progress if self._preparation is None and self._batch is not None else 0.0

    def _stateText(self) -> str:
        if self._preparation is not None:
            return _("Writing volumes of the scene, {count} left…").format(count=self._preparation.remaining)
        if self._batch is None:
            count = len(self._queue)
            return _("{count} scans in the list.").format(count=count) if count else ""
        state, message = self._batch.state, self._batch.message
        return {
            "queued": _("Starting…"),
            "running": _("Working: {message}."),
            "stopping": _("Stopping…"),
            "failed": _("The batch has failed: {message} What is done stays; start again to go on."),
            "finished": _("{message}. The table is {table}."),
        }[state].format(message=message, table=self._batch.table)


def _input(key: SceneNode | Path):
    """What is segmented: a file or a volume node; None: the volume is no longer in the scene."""
    return key if isinstance(key, Path) else key.node


def _isActive(batch: SegmentationBatch) -> bool:
    """Whether a batch has not ended; of one whose record cannot be read, nobody knows, and another may be started."""
    try:
        return batch.active
    except InputError:
        return False
