"""The panel's table of what was found, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from BRBSTrainingLib.Annotation import editInSegmentEditor
from BRBSTrainingLib.RowTable import NEUTRAL, Row, RowTable
from BRBSTrainingLib.SceneNode import SceneNode
from BRBSTrainingLib.SceneScans import SOURCE_ATTRIBUTE
from BRBSTrainingLib.Section import onClick
from BRBSTrainingLib.SegmentVolumes import segmentVolumes
from BRBSTrainingLib.StudyFolder import StudyFolder

from .Confidence import confidenceAdvice, confidenceMark, confidenceText
from .Measurements import measurementTable
from .ResultNode import SCAN_ROLE, STUDY_ATTRIBUTE, confidenceOf


class ResultSection:
    """Shows volumes and confidence of the result; 3D view, table, correction, and back into the study.

    Volumes are measured whenever the result is shown, that is also when the user comes back from correcting it.

    Args:
        ui: the panel's widgets.
        trainingLogic: adds a corrected scan to its study.
        guard: runs a function and shows what is wrong with its input.
        say: tells the user something.
        studyChanged: called when the study has a new atlas.
    """

    def __init__(self, ui, trainingLogic, guard, say, studyChanged) -> None:
        self._ui, self._logic, self._say = ui, trainingLogic, say
        self._shown: SceneNode | None = None
        self._studyChanged = studyChanged
        self._addTip = ui.addToStudyButton.toolTip
        self._table = RowTable(ui.resultTable, [_("Structure"), _("Confidence"), _("Volume (mL)")])
        actions = {
            ui.show3DButton: self._show3D,
            ui.tableButton: self._makeTable,
            ui.editButton: lambda: editInSegmentEditor(self.node, self._scan()),
            ui.addToStudyButton: self._addToStudy,
        }
        onClick(actions, guard)

    @property
    def node(self):
        """The segmentation shown; None: none, or it was deleted."""
        return self._shown.node if self._shown else None

    def show(self, node) -> None:
        """Shows a segmentation's findings; None: nothing."""
        self._shown = SceneNode(node) if node else None
        self.update()

    def update(self) -> None:
        """Shows the result as it is now."""
        node = self.node
        volumes, confidence = (segmentVolumes(node), confidenceOf(node)) if node else ({}, {})
        self._table.show([_row(name, volume, confidence) for name, volume in volumes.items()])
        for button in (self._ui.show3DButton, self._ui.tableButton, self._ui.editButton):
            button.enabled = node is not None
        self._ui.show3DButton.checked = node is not None and _isIn3D(node)
        blocker = self._blocker()
        self._ui.addToStudyButton.enabled = blocker is None
        self._ui.addToStudyButton.toolTip = blocker or self._addTip

    def _blocker(self) -> str | None:
        """Why the result cannot become an atlas; None: it can."""
        if self.node is None:
            return _("Segment a scan first.")
        if not self.node.GetAttribute(STUDY_ATTRIBUTE):
            return _("The model was not trained in a study of this computer; add the scan to one in BRBS Training.")
        if self._scan() is None:
            return _("The scan of this result is no longer in the scene; load it and segment it again.")
        return None

    def _scan(self):
        return self.node.GetNodeReference(SCAN_ROLE)

    def _show3D(self) -> None:
        shown = self._ui.show3DButton.checked
        if shown:
            self.node.CreateClosedSurfaceRepresentation()
        self.node.GetDisplayNode().SetVisibility3D(shown)

    def _makeTable(self) -> None:
        table = measurementTable(self.node)
        self._say(_("Made the table {name}.").format(name=table.GetName()))

    def _addToStudy(self) -> None:
        study = StudyFolder.open(self.node.GetAttribute(STUDY_ATTRIBUTE))
        with slicer.util.WaitCursor():
            note = self._logic.addAtlas(study, self._scan(), self.node)
            if source := self._scan().GetAttribute(SOURCE_ATTRIBUTE):
                study.removeUnlabeled([Path(source)])  # the atlas may be a copy of it
        text = _("{scan} is an atlas of the study {study} now; train again to learn from it.")
        self._say(" ".join([text.format(scan=self._scan().GetName(), study=study.name), note]).strip())
        self._studyChanged()


def _isIn3D(node) -> bool:
    """Whether the structures are seen in 3D: new ones have no surface yet."""
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    display = node.GetDisplayNode()
    isShown = display is not None and bool(display.GetVisibility3D())
    return isShown and node.GetSegmentation().ContainsRepresentation(surface)


def _row(name: str, volume: float, confidence: Mapping[str, float | None]) -> Row:
    amount = f"{volume:.2f}"
    if name not in confidence:
        return Row(name, (name, _("not known"), amount), NEUTRAL, _("Not known for this structure."))
    mark = confidenceMark(confidence[name])
    toolTip = "\n".join([confidenceAdvice(mark), _("Confidence is that of the result as found, before corrections.")])
    return Row(name, (name, confidenceText(confidence[name]), amount), mark, toolTip)
