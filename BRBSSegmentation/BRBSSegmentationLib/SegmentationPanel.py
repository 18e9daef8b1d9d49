"""The panel of the module: model, scan, result, and a clock that follows the worker."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError
from BRBSTraining import BRBSTrainingLogic
from BRBSTrainingLib.FormConnection import FormConnection
from BRBSTrainingLib.KnownModels import KnownModel

from .ModelSection import ModelSection
from .ResultNode import STUDY_ATTRIBUTE
from .ResultSection import ResultSection
from .SegmentationRun import FAILED, FINISHED, SEGMENTED, SegmentationRun

TICK_MILLISECONDS = 50


class SegmentationPanel:
    """Puts the sections together and follows a run.

    Args:
        ui: the form's widgets by name.
        logic: the module's logic.
    """

    def __init__(self, ui, logic) -> None:
        self._ui, self._logic = ui, logic
        self._form = FormConnection(ui)
        self._run: SegmentationRun | None = None
        self._runModel: KnownModel | None = None
        self._models = ModelSection(ui, logic, self.guard, self.say, self._modelChosen)
        self._result = ResultSection(ui, BRBSTrainingLogic(), self.guard, self.say)
        ui.applyButton.connect("clicked(bool)", lambda checked: self.guard(self._apply))
        ui.cancelButton.connect("clicked(bool)", lambda checked: self.guard(self._cancel))
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._updateButtons())
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MILLISECONDS)
        self._timer.connect("timeout()", self.tick)
        self.say("")
        self._models.update()
        self._result.show(None)

    def close(self) -> None:
        """Stops watching."""
        self._timer.stop()
        self.setParameters(None)

    def enter(self) -> None:
        """The module is shown: there may be new models, or the result may have been edited."""
        self._models.update()
        self._result.update()

    def setParameters(self, parameters) -> None:
        """Follows a parameter node; None: none."""
        if not self._form.follow(parameters):
            return
        if parameters is not None:
            self._models.choose(parameters.model)
        self._updateButtons()
        self._result.update()

    def say(self, text: str) -> None:
        """Tells the user something."""
        self._ui.noticeLabel.text = text
        self._ui.noticeLabel.visible = bool(text)

    def guard(self, action: Callable[[], object]) -> None:
        """Runs an action; what is wrong with its input is shown, not raised."""
        try:
            action()
        except InputError as error:
            self.say(str(error))
        self._updateButtons()

    def tick(self) -> None:
        """Takes in what the worker has done."""
        changed = self._run.poll()
        self._ui.stateLabel.text = self._stateText()
        if changed and self._run.node is not None:
            self._showResult()
        if not self._run.active:
            self._timer.stop()
            self._updateButtons()

    def _modelChosen(self) -> None:
        if self._form.parameters is not None and self._models.model is not None:
            self._form.parameters.model = str(self._models.model.folder)
        self._updateButtons()

    def _updateButtons(self) -> None:
        blocker = self._blocker()
        self._ui.applyButton.enabled = blocker is None
        self._ui.applyButton.toolTip = blocker or _("Segment the scan.")
        self._ui.cancelButton.enabled = self._run is not None and self._run.active

    def _blocker(self) -> str | None:
        if self._models.model is None:
            return _("Choose a model first.")
        if self._ui.inputSelector.currentNode() is None:
            return _("Choose a scan first.")
        if self._run is not None and self._run.active:
            return _("A scan is being segmented.")
        return None

    def _apply(self) -> None:
        self.say("")
        self._run = self._logic.startSegmentation(
            self._ui.inputSelector.currentNode(),
            self._models.model,
            self._form.parameters.outputSegmentation,
            self._form.parameters.device,
            self._form.parameters.uncertainty,
        )
        self._runModel = self._models.model
        self._timer.start()

    def _cancel(self) -> None:
        self._run.cancel()
        self.tick()

    def _stateText(self) -> str:
        text = {
            SEGMENTED: _("Segmented; looking how far the atlases agree…"),
            FINISHED: _("Done."),
            FAILED: "",
        }.get(self._run.state, _("Segmenting…"))
        seconds = _("{seconds} s").format(seconds=f"{self._run.seconds:.1f}")
        return " ".join(filter(None, [text, self._run.message, "" if self._run.state == FAILED else seconds]))

    def _showResult(self) -> None:
        """The overlay is seen at once; the output selector names the new node, so that Apply renews it."""
        node = self._run.node
        if node.GetAttribute(STUDY_ATTRIBUTE) is None and self._runModel.study is not None:
            node.SetAttribute(STUDY_ATTRIBUTE, str(self._runModel.study))
        self._result.show(node)
        slicer.util.setSliceViewerLayers(background=self._ui.inputSelector.currentNode())
