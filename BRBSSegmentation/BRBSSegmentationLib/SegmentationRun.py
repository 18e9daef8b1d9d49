"""One scan on its way through the worker."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError
from BRBSTrainingLib.SceneNode import SceneNode
from BRBSTrainingLib.SceneScans import UNCERTAINTY
from BRBSTrainingLib.VolumeExport import exportVolume, transformNote, volumeFile

from .ResultNode import noteConfidence, noteOrigin, placement, showResult
from .SegmentationWorker import SegmentationWorker

SENT, SEGMENTED, FINISHED, FAILED = "sent", "segmented", "finished", "failed"
UNCERTAINTY_ROLE = "BRBS.UncertaintyVolume"  # under which a result refers to it


class SegmentationRun:
    """Exports a volume, has it segmented, and puts the result into the scene; :meth:`poll` it until it has ended.

    Args:
        worker: that does it.
        volumeNode: the scan.
        model: folder of the model.
        segmentationNode: takes the result; None: a new node.
        device: where to compute.
        uncertainty: also make a volume of the uncertainty of each voxel.
        components: which connected pieces of structures stay; see :data:`brbs.components.COMPONENTS`.

    Attributes:
        state: SENT, SEGMENTED (the node is there, confidence is not), FINISHED or FAILED.
        message: for people.
        node: the result.
        uncertaintyNode: the volume asked for.

    Raises:
        InputError: the volume cannot be used, or the worker not be started.
    """

    def __init__(
        self,
        worker: SegmentationWorker,
        volumeNode,
        model: Path,
        segmentationNode,
        device: str,
        uncertainty: bool,
        components: str,
    ) -> None:
        self._worker, self._volume, self._model = worker, SceneNode(volumeNode), model
        self._target = SceneNode(segmentationNode) if segmentationNode else None
        self._name, self._started = volumeNode.GetName(), time.monotonic()
        self.state, self.message, self.node, self.uncertaintyNode = SENT, transformNote(volumeNode), None, None
        self._exported = placement(volumeNode)
        worker.start()
        number = time.monotonic_ns()
        self._scan = volumeFile(volumeNode)
        self._source = self._scan or worker.folder / f"scan {number}.nrrd"
        if self._scan is None:
            exportVolume(volumeNode, self._source)
        self._labels = worker.folder / f"result {number}.seg.nrrd"
        self._uncertainty = worker.folder / f"uncertainty {number}.nrrd" if uncertainty else None
        wanted = {"confidence": True, "uncertainty": self._uncertainty, "components": components}
        self._id = worker.client.send(model, self._source, self._labels, device, **wanted)

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state in (SENT, SEGMENTED)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._started

    def poll(self) -> bool:
        """Takes in what the worker has done; true when something has changed."""
        if not self.active:
            return False
        answer = self._worker.client.answer(self._id) or {}
        before = (self.state, self.message)
        try:
            self._follow(answer)
        except InputError as error:
            self._end(FAILED, str(error))
        if self.active and not self._worker.alive:
            reason = _("The engine has ended unexpectedly ({reason}); press Apply again.")
            self._end(FAILED, reason.format(reason=self._worker.lastLine))
        return (self.state, self.message) != before

    def cancel(self) -> None:
        """Asks the worker to leave it; what is in the scene stays as it is."""
        self._worker.client.cancel(self._id)
        self._end(FAILED if self.node is None else FINISHED, _("Cancelled."))

    def _follow(self, answer: dict) -> None:
        state = answer.get("state")
        if state == "failed":
            self._end(FAILED, answer["message"].replace(str(self._source), self._name))
        if state in ("segmented", "finished") and self.node is None:
            self._show()
            self.state = SEGMENTED
        if state == "finished":
            noteConfidence(self.node, answer.get("confidence"))
            self._showUncertainty()
            self._end(FINISHED, " ".join(filter(None, [self.message, _sentence(answer.get("message", ""))])))

    def _show(self) -> None:
        volumeNode = self._volume.node
        if volumeNode is None:
            raise InputError(_("The volume was deleted meanwhile; nothing was made of the result."))
        target = self._target.node if self._target else None
        self.node = showResult(self._labels, volumeNode, target, exported=self._exported)
        noteOrigin(self.node, volumeNode, self._model)

    def _showUncertainty(self) -> None:
        if self._uncertainty is None or not self._uncertainty.exists():
            return
        node = self.node.GetNodeReference(UNCERTAINTY_ROLE) or self._addUncertaintyNode()
        storage = slicer.vtkMRMLNRRDStorageNode()  # not of the scene: the file is only on its way
        storage.SetFileName(str(self._uncertainty))
        if not storage.ReadData(node):
            problem = _("{name}: its uncertainty volume cannot be read; press Apply again")
            raise InputError(problem.format(name=self._name))
        self.uncertaintyNode = node

    def _addUncertaintyNode(self):
        """Adds an empty volume for the uncertainty of this result and of those that take its place."""
        name = _("{name} uncertainty").format(name=self.node.GetName())
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        node.CreateDefaultDisplayNodes()
        node.SetAttribute(UNCERTAINTY, "1")
        self.node.SetNodeReferenceID(UNCERTAINTY_ROLE, node.GetID())
        return node

    def _end(self, state: str, message: str) -> None:
        self.state, self.message = state, message
        for path in [self._labels, self._uncertainty, self._source if self._scan is None else None]:
            if path is not None:
                with suppress(OSError):  # Windows keeps what the worker is reading; it goes with the worker's folder
                    path.unlink()


def _sentence(message: str) -> str:
    """A message of the engine, such as "a small stray piece was left out", as one sentence among others."""
    return f"{message[0].upper()}{message[1:]}." if message else ""


def componentsOf(parameters) -> str:
    """What the panel's parameters say of connected pieces, see :data:`brbs.components.COMPONENTS`."""
    return "atlases" if parameters.withoutStrayPieces else "all"
