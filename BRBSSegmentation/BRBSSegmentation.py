"""Slicer module: one click from a scan to its segmentation."""

import time
import unittest
from pathlib import Path
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from brbs.bundle_file import export_bundle, import_bundle
from brbs.components import COMPONENTS
from brbs.errors import InputError
from brbs.scan_files import ALL
from BRBSSegmentationLib.BatchPreparation import BatchPreparation
from BRBSSegmentationLib.Measurements import measurementTable
from BRBSSegmentationLib.ResultNode import confidenceOf
from BRBSSegmentationLib.SegmentationBatch import SegmentationBatch
from BRBSSegmentationLib.SegmentationPanel import SegmentationPanel
from BRBSSegmentationLib.SegmentationRun import FAILED, SegmentationRun
from BRBSSegmentationLib.SegmentationWorker import SegmentationWorker
from BRBSTrainingLib.Engine import Engine
from BRBSTrainingLib.FormConnection import sceneHasParameters
from BRBSTrainingLib.KnownModels import KnownModel, addedModel, knownModels
from BRBSTrainingLib.UserSettings import UserSettings

FORMATS = [".seg.nrrd", ".nii.gz"]


class BRBSSegmentation(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent) -> None:
        super().__init__(parent)
        parent.title = _("BRBS Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["BRBSTraining"]
        parent.contributors = ["BRBS for 3D Slicer contributors"]
        parent.helpText = _(
            "Segments scans with a model made by BRBS Training. BRBS is Better Registration Better Segmentation (He et "
            "al., 2022). The confidence of each structure is the Dice that the model expects itself, no guarantee. "
            "Scans to try it on: BRBSTinyScans in the module Sample Data."
        )
        parent.acknowledgementText = _(
            "Method: Y. He et al., Learning Better Registration to Learn Better Few-Shot Medical Image Segmentation, "
            "IEEE TNNLS 2022, doi:10.1109/TNNLS.2022.3190452."
        )


@parameterNodeWrapper
class BRBSSegmentationParameterNode:
    """What the panel keeps in the scene.

    Attributes:
        model: folder of the chosen model; empty: the newest.
        device: where to compute, as the engine names devices.
        inputVolume: the scan.
        outputSegmentation: takes the result; none: a new one.
        uncertainty: whether a volume of each voxel's uncertainty is wanted.
        withoutStrayPieces: whether small pieces are left out of structures that are one piece in every atlas.
        batchFolder: takes the results of many scans.
        batchPattern: names of the scans that are taken of a folder.
        batchFormat: of the results of many scans.
    """

    model: str = ""
    device: str = "auto"
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    outputSegmentation: slicer.vtkMRMLSegmentationNode
    uncertainty: bool = False
    withoutStrayPieces: bool = True
    batchFolder: str = ""
    batchPattern: str = ALL
    batchFormat: Annotated[str, Choice(FORMATS)] = FORMATS[0]


class BRBSSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel: loads the form and hands it to :class:`SegmentationPanel`."""

    def __init__(self, parent=None) -> None:
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        ScriptedLoadableModuleWidget.__init__(self, parent)  # last: without a parent it calls setup

    def setup(self) -> None:
        """Builds the panel when the module is first opened."""
        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/BRBSSegmentation.ui"))
        self.layout.addWidget(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(form)
        self.logic = BRBSSegmentationLogic()
        self.panel = SegmentationPanel(self.ui, self.logic)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self._connectParameterNode()

    def cleanup(self) -> None:
        """Before the widget goes: the worker ends."""
        self.panel.close()
        self.logic.close()
        self.removeObservers()

    def enter(self) -> None:
        """The module is shown: there may be new models."""
        self._connectParameterNode()
        self.panel.enter()

    def useModel(self, folder: str | Path) -> None:
        """Chooses the model of a folder; it comes onto the list if it is not there yet."""
        self.panel.useModel(folder)

    def onSceneStartClose(self, caller, event) -> None:
        """Before the scene is closed: its volumes and its parameter node go."""
        self.panel.leaveScene()

    def onSceneEndClose(self, caller, event) -> None:
        """A new scene gets a parameter node of its own at once if the module is shown, else when it is entered."""
        if self.parent.isEntered:
            self._connectParameterNode()

    def onSceneEndImport(self, caller, event) -> None:
        """A loaded scene writes what it was saved with into the parameter node that is followed already."""
        self.panel.setParameters(None)
        if self.parent.isEntered or sceneHasParameters(self.moduleName):
            self._connectParameterNode()
        self.panel.takeUpResult()

    def _connectParameterNode(self) -> None:
        self.panel.setParameters(self.logic.getParameterNode())


class BRBSSegmentationLogic(ScriptedLoadableModuleLogic):
    """Models and segmentations, without a panel; for scripts, too."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine()
        self.worker = SegmentationWorker(self.engine)
        self._settings = UserSettings()

    def getParameterNode(self):
        """The module's parameter node, wrapped."""
        return BRBSSegmentationParameterNode(super().getParameterNode())

    def close(self) -> None:
        """Ends the worker."""
        self.worker.close()

    # ---- models

    def models(self) -> list[KnownModel]:
        """The models that this user has trained or added, the newest first."""
        return knownModels(self._settings)

    def addModel(self, path: str | Path) -> KnownModel:
        """Puts the model of a folder on the list.

        Raises:
            InputError: no model there, damaged, or of a newer version.
        """
        return addedModel(self._settings, Path(path))

    def removeModel(self, model: KnownModel | str | Path) -> None:
        """Takes a model off the list; its files stay."""
        self._settings.forgetModel(_folder(model))

    def exportModel(self, model: KnownModel | str | Path, zipPath: str | Path) -> Path:
        """Writes a model to one file for a colleague; it names no scans and no people.

        Raises:
            InputError: the model is damaged, or the file cannot be written.
        """
        export_bundle(_folder(model), Path(zipPath))
        return Path(zipPath)

    def importModel(self, zipPath: str | Path) -> KnownModel:
        """Unpacks a model that :meth:`exportModel` wrote and puts it on the list.

        Raises:
            InputError: the file is no model or might do harm; nothing is unpacked then.
        """
        home = Path(slicer.app.slicerUserSettingsFilePath).parent / "BRBS models"
        return self.addModel(import_bundle(Path(zipPath), home))

    # ---- segmentation

    def startSegmentation(
        self,
        volumeNode,
        model: KnownModel | str | Path,
        segmentationNode=None,
        device: str = "auto",
        uncertainty: bool = False,
        components: str = COMPONENTS[0],
    ) -> SegmentationRun:
        """Begins to segment a volume as :meth:`segment` and returns at once; poll the run until it has ended.

        Raises:
            InputError: the volume cannot be used, or the engine not be started.
        """
        folder = _folder(model)
        return SegmentationRun(self.worker, volumeNode, folder, segmentationNode, device, uncertainty, components)

    def segment(
        self,
        volumeNode,
        model: KnownModel | str | Path,
        segmentationNode=None,
        device: str = "auto",
        components: str = COMPONENTS[0],
    ):
        """Segments a volume and waits for it; the application stays alive meanwhile.

        Args:
            volumeNode: the scan.
            model: one of :meth:`models`, or a model's folder.
            segmentationNode: takes the result; None: a new node.
            device: "auto", "cpu", "cuda:0", ...
            components: which connected pieces of structures stay: "atlases" (no small ones where every atlas has one
                piece), "largest" or "all".

        Returns:
            The vtkMRMLSegmentationNode.

        Raises:
            InputError: it did not work; says why.
        """
        run = self.startSegmentation(volumeNode, model, segmentationNode, device, components=components)
        while run.active:
            run.poll()
            slicer.app.processEvents()
            time.sleep(0.01)
        if run.state == FAILED:
            raise InputError(run.message)
        return run.node

    def segmentBatch(
        self,
        inputs,
        model: KnownModel | str | Path,
        outputFolder: str | Path,
        device: str = "auto",
        suffix: str = FORMATS[0],
        pattern: str = ALL,
        components: str = COMPONENTS[0],
    ) -> SegmentationBatch:
        """Starts to segment many scans in the background; returns when volumes of the scene have been exported.

        Results, and a table of volumes and confidences, go to a folder. What is finished there is not done again, as
        long as neither scan, model nor components have changed; one bad scan does not stop the rest.

        Args:
            inputs: a folder, or a list of volume nodes, files and folders.
            model: one of :meth:`models`, or a model's folder.
            outputFolder: made where needed.
            device: "auto", "cpu", "cuda:0", ...
            suffix: of the results, ".seg.nrrd" (with names and colours) or ".nii.gz".
            pattern: names of the scans that are taken of a folder, such as ``*_T1.nii.gz``.
            components: which connected pieces of structures stay, see :meth:`segment`.

        Returns:
            The job: its ``state``, ``progress`` and, after ``poll()``, its ``scans``; ``stop()`` ends it.

        Raises:
            InputError: a scan cannot be used, a batch is running in the folder, or the engine cannot be started.
        """
        sources = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        output = Path(outputFolder)
        chosen = device, suffix, components, pattern
        preparation = BatchPreparation(self.engine, sources, _folder(model), output, *chosen)
        try:
            while not preparation.step():
                slicer.app.processEvents()
        except InputError:
            preparation.cancel()
            raise
        return preparation.batch

    def confidence(self, segmentationNode) -> dict[str, float | None]:
        """Dice that the model expects of the result as found, by structure.

        Returns:
            0..1, or None for a structure of which nothing was found and nothing expected; empty where it is not known.
        """
        return confidenceOf(segmentationNode)

    def measurements(self, segmentationNode):
        """The table node of a segmentation's volumes (mL), as they are now, and confidences, as found."""
        return measurementTable(segmentationNode)


def _folder(model: KnownModel | str | Path) -> Path:
    return model.folder if isinstance(model, KnownModel) else Path(model)


class BRBSSegmentationTest(ScriptedLoadableModuleTest):
    """Self-test: trains a tiny model and segments a volume with it."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """*Reload and Test*, which knows of no test that is skipped."""
        self.setUp()
        try:
            self.test_segment()
        except unittest.SkipTest as skipped:
            self.delayDisplay(_("Test passed without the engine: {reason}").format(reason=skipped))

    def test_segment(self) -> None:
        """From a volume of the scene to a segmentation on its grid."""
        from BRBSSegmentationLib.SelfTest import segmentTinyScan

        self.delayDisplay(_("Training and using a tiny model"))
        segmentTinyScan(BRBSSegmentationLogic())
        self.delayDisplay(_("Test passed"))
