"""The panel of the module: model, scan, result, and a clock that follows the worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError
from BRBSTraining import BRBSTrainingLogic
from BRBSTrainingLib.Annotation import scanNode
from BRBSTrainingLib.DeviceSelector import DeviceSelector
from BRBSTrainingLib.EngineReport import EngineReport
from BRBSTrainingLib.FormConnection import FormConnection
from BRBSTrainingLib.SceneScans import SOURCE_ATTRIBUTE

from .BatchSection import BatchSection
from .ModelSection import ModelSection
from .RankingSection import RankingSection
from .ResultNode import SCAN_ROLE, isResult
from .ResultSection import ResultSection
from .SegmentationBatch import BatchScan, SegmentationBatch, loadResult
from .SegmentationRun import FAILED, FINISHED, SEGMENTED, SegmentationRun, componentsOf

TICK_MILLISECONDS, HURRIED_MILLISECONDS = 250, 50  # pauses, in which the application has its turn
STATUS_MILLISECONDS = 5000  # a message stands in the status bar, which is seen wherever the panel is scrolled


class SegmentationPanel:
    """Puts the sections together and follows what runs.

    Args:
        ui: the form's widgets by name.
        logic: the module's logic.
    """

    def __init__(self, ui, logic) -> None:
        self._ui, self._logic = ui, logic
        self._form = FormConnection(ui)
        self._run: SegmentationRun | None = None
        self._report = EngineReport(logic.engine)
        self._asked: str | None = None  # which Python
        self._problem = ""  # of the engine, as it was told
        self._devices = DeviceSelector(ui.deviceSelector)
        self._ranking = RankingSection(
            ui, logic, self.guard, lambda: self._devices.device, lambda: self._running, self._openRanked
        )
        self._batch = BatchSection(
            ui, logic.engine, self.guard, lambda: self._models.model, lambda: self._devices.device, self._openResult
        )
        self._models = ModelSection(ui, logic, self.guard, self.say, self._modelChosen)
        self._result = ResultSection(ui, BRBSTrainingLogic(), self.guard, self.say, self._ranking.update)
        ui.applyButton.connect("clicked(bool)", lambda checked: self.guard(self._apply))
        ui.cancelButton.connect("clicked(bool)", lambda checked: self.guard(self._cancel))
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._updateButtons())
        ui.outputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._outputChosen)
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MILLISECONDS)
        self._timer.connect("timeout()", self.tick)
        self._timer.start()
        self.say("")
        self._models.update()
        self._batch.update()
        self._result.show(None)

    def close(self) -> None:
        """Stops watching; a batch goes on."""
        self._timer.stop()
        self.setParameters(None)
        self._batch.close()
        self._ranking.close()
        self._report.close()

    def enter(self) -> None:
        """The module is shown: there may be new models or another engine, or the result may have been edited."""
        self._askEngine()
        self._models.update()
        self._result.update()
        self._ranking.update()

    def setParameters(self, parameters) -> None:
        """Follows a parameter node; None: none."""
        if not self._form.follow(parameters):
            return
        self._devices.setParameters(parameters)
        self._batch.setParameters(parameters)
        if parameters is not None:
            self._models.choose(parameters.model)
        self._updateButtons()
        self._result.update()

    def takeUpResult(self) -> None:
        """A scene was loaded: shows the newest result in it, unless one is shown already."""
        results = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if isResult(node)]
        if results and self._result.node is None:
            self._result.show(results[-1])

    def leaveScene(self) -> None:
        """The scene is closed: what is being made of its volumes is given up; a batch that runs goes on."""
        if self._running:
            self._cancel()
        self._batch.leaveScene()
        self._result.show(None)
        self.setParameters(None)

    def useModel(self, folder: str | Path) -> None:
        """Chooses the model of a folder; it comes onto the list if it is not there yet."""
        self.guard(lambda: self._models.use(folder))

    def say(self, text: str) -> None:
        """Tells the user something."""
        self._ui.noticeLabel.text = text
        self._ui.noticeLabel.visible = bool(text)
        if text:
            slicer.util.showStatusMessage(text, STATUS_MILLISECONDS)

    def guard(self, action: Callable[[], object]) -> None:
        """Runs an action; what is wrong with its input is shown, not raised."""
        for step in (action, self._updateButtons):
            try:
                step()
            except InputError as error:
                self.say(str(error))

    def tick(self) -> None:
        """Takes in what the engine has done."""
        if self._report.poll():
            self._takeReport()
        changed = self._run is not None and self._follow(self._run)
        try:
            changed = self._batch.tick() or changed
        except InputError as error:
            self.say(str(error))
            changed = True
        self._ranking.tick()
        if changed:
            self._updateButtons()
        hurried = self._batch.isPreparing or self._running
        self._timer.setInterval(HURRIED_MILLISECONDS if hurried else TICK_MILLISECONDS)

    def _follow(self, run: SegmentationRun) -> bool:
        if not run.active:
            return False
        shown = run.node is not None
        changed = run.poll()
        self._ui.stateLabel.text = self._stateText()
        if run.node is not None and not shown:
            self._show(run.node)
        elif changed:
            self._result.update()
        return changed

    def _askEngine(self) -> None:
        """Asks the engine unless it has said that it can be used; another Python may have been chosen meanwhile."""
        python = self._logic.engine.python
        if self._asked == python and (self._report.usable or self._report.busy):
            return
        self._asked = python
        self._report.ask(timed=False)
        if not self._report.busy:  # it cannot be started
            self._takeReport()

    def _takeReport(self) -> None:
        self._devices.show(self._report.content.get("devices", []))
        before, self._problem = self._problem, ""
        if self._report.problem:
            self._problem = " ".join([self._report.problem, _("BRBS Training helps with that.")])
        if self._problem or self._ui.noticeLabel.text == before:
            self.say(self._problem)

    def _outputChosen(self, node) -> None:
        """A result that was found before, as in a scene that was saved, is shown again."""
        if node is not None and isResult(node):
            self._result.show(node)

    def _modelChosen(self) -> None:
        if self._form.parameters is not None and self._models.model is not None:
            self._form.parameters.model = str(self._models.model.folder)
        self._ranking.choose(self._models.model)
        self._updateButtons()

    def _updateButtons(self) -> None:
        blocker = self._blocker()
        self._ui.applyButton.enabled = blocker is None
        self._ui.applyButton.toolTip = blocker or _("Segment the scan.")
        self._ui.cancelButton.enabled = self._running
        self._ranking.updateButtons()
        self._batch.updateButtons()

    @property
    def _running(self) -> bool:
        """Whether a scan is being segmented."""
        return self._run is not None and self._run.active

    def _blocker(self) -> str | None:
        if self._models.model is None:
            return _("Choose a model first.")
        if self._ui.inputSelector.currentNode() is None:
            return _("Choose a scan first.")
        if self._running:
            return _("A scan is being segmented.")
        return None

    def _apply(self) -> None:
        self.say("")
        self._run = self._logic.startSegmentation(
            self._ui.inputSelector.currentNode(),
            self._models.model,
            self._form.parameters.outputSegmentation,
            self._devices.device,
            self._form.parameters.uncertainty,
            componentsOf(self._form.parameters),
        )
        self._timer.setInterval(HURRIED_MILLISECONDS)

    def _cancel(self) -> None:
        self._run.cancel()
        self._ui.stateLabel.text = self._stateText()

    def _stateText(self) -> str:
        text = {
            SEGMENTED: _("Segmented; computing the confidence…"),
            FINISHED: _("Done."),
            FAILED: "",
        }.get(self._run.state, _("Segmenting…"))
        seconds = _("{seconds} s").format(seconds=f"{self._run.seconds:.1f}")
        return " ".join(filter(None, [text, self._run.message, "" if self._run.state == FAILED else seconds]))

    def _show(self, node) -> None:
        """The overlay is seen at once."""
        self._result.show(node)
        scan = node.GetNodeReference(SCAN_ROLE)
        if scan is not None:  # it may have been deleted since
            slicer.util.setSliceViewerLayers(background=scan)
        else:
            _centreViews(node)

    def _openResult(self, volumeNode, scan: BatchScan, batch: SegmentationBatch) -> None:
        """Shows what a batch has found in a scan, alone where the scan is gone."""
        lack = batch.lack(scan.scan) if volumeNode is None else ""
        if volumeNode is None and not lack:
            volumeNode = scanNode(scan.scan)
        node = loadResult(scan, volumeNode, batch)
        if volumeNode is not None:
            self._ui.inputSelector.setCurrentNode(volumeNode)
        self._show(node)
        if lack:
            self.say(lack)

    def _openRanked(self, scan: Path) -> None:
        """Loads a scan of the study and segments it, so that it only has to be corrected."""
        if self._running:  # it would be given up
            raise InputError(_("A scan is being segmented."))
        volumeNode = scanNode(scan)
        volumeNode.SetAttribute(SOURCE_ATTRIBUTE, str(scan))
        self._ui.inputSelector.setCurrentNode(volumeNode)
        self._form.parameters.outputSegmentation = None
        self._apply()


def _centreViews(segmentationNode) -> None:
    """Moves the slice views to a segmentation, which they may be far from where no scan is loaded."""
    bounds = [0.0] * 6
    segmentationNode.GetRASBounds(bounds)
    centre = [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2])]
    node = slicer.vtkMRMLSliceNode
    node.JumpAllSlices(slicer.mrmlScene, *centre, node.CenteredJumpSlice)
