"""Slicer module: annotate a few atlases, train in the background, keep working."""

import os
import shutil
import time
import unittest
from pathlib import Path
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from brbs.errors import InputError
from brbs.job import queue_job
from brbs.model_folder import TRAINING_FOLDER
from brbs.settings import DEFAULT_PRESET, PRESETS
from BRBSTrainingLib.AllDevices import trainCommand
from BRBSTrainingLib.BackgroundJob import LOG_FILE
from BRBSTrainingLib.Engine import Engine
from BRBSTrainingLib.FormConnection import sceneHasParameters
from BRBSTrainingLib.InspectorLayout import registerInspectorLayout
from BRBSTrainingLib.InspectorRun import InspectorRequest, InspectorRun
from BRBSTrainingLib.InspectorScene import InspectorScene
from BRBSTrainingLib.KnownModels import KnownModel, knownModels
from BRBSTrainingLib.SampleStudy import registerSampleStudy
from BRBSTrainingLib.SceneImport import atlasFiles, scanFile
from BRBSTrainingLib.StudyFolder import StudyFolder
from BRBSTrainingLib.TrainingJob import TrainingJob
from BRBSTrainingLib.TrainingPanel import TrainingPanel
from BRBSTrainingLib.UserSettings import UserSettings


class BRBSTraining(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent) -> None:
        super().__init__(parent)
        parent.title = _("BRBS Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["BRBS for 3D Slicer contributors"]
        parent.helpText = _(
            "BRBS is Better Registration Better Segmentation (He et al., 2022). Annotate a few scans (atlases), add "
            "scans that nobody has annotated, and train a model that segments new scans. Training runs in the "
            "background; Slicer may be closed meanwhile. To try it, choose BRBSTinyStudy in the module Sample Data."
        )
        parent.acknowledgementText = _(
            "Method: Y. He et al., Learning Better Registration to Learn Better Few-Shot Medical Image Segmentation, "
            "IEEE TNNLS 2022, doi:10.1109/TNNLS.2022.3190452."
        )
        slicer.app.connect("startupCompleted()", registerSampleStudy)
        slicer.app.connect("startupCompleted()", registerInspectorLayout)


@parameterNodeWrapper
class BRBSTrainingParameterNode:
    """What the panel keeps in the scene.

    Attributes:
        studyFolder: path of the open study; empty: none.
        preset: name of the quality preset.
        device: where to train, as the engine names devices; "cuda:all": on all GPUs.
        minutes: time limit of a training; 0: none.
        atlasVolume, atlasSegmentation: chosen to be added as an atlas.
        scanVolume: chosen to be added without annotation.
    """

    studyFolder: str = ""
    preset: Annotated[str, Choice(list(PRESETS))] = DEFAULT_PRESET
    device: str = "auto"
    minutes: Annotated[int, WithinRange(0, 100_000)] = 0
    atlasVolume: slicer.vtkMRMLScalarVolumeNode
    atlasSegmentation: slicer.vtkMRMLSegmentationNode
    scanVolume: slicer.vtkMRMLScalarVolumeNode


class BRBSTrainingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel: loads the form and hands it to :class:`TrainingPanel`."""

    def __init__(self, parent=None) -> None:
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        ScriptedLoadableModuleWidget.__init__(self, parent)  # last: without a parent it calls setup

    def setup(self) -> None:
        """Builds the panel when the module is first opened."""
        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/BRBSTraining.ui"))
        self.layout.addWidget(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(form)
        self.logic = BRBSTrainingLogic()
        self.panel = TrainingPanel(self.ui, self.logic)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self._connectParameterNode()

    def cleanup(self) -> None:
        """Before the widget goes: the job goes on by itself."""
        self.panel.close()
        self.removeObservers()

    def enter(self) -> None:
        """The module is shown: something may have been drawn in the Segment Editor."""
        self._connectParameterNode()
        self.panel.enter()

    def onSceneStartClose(self, caller, event) -> None:
        """Before the scene is closed: its parameter node goes; study and job stay open."""
        self.panel.setParameters(None)

    def onSceneEndClose(self, caller, event) -> None:
        """A new scene gets a parameter node of its own at once if the module is shown, else when it is entered."""
        if self.parent.isEntered:
            self._connectParameterNode()

    def onSceneEndImport(self, caller, event) -> None:
        """A loaded scene writes what it was saved with into the parameter node that is followed already."""
        self.panel.setParameters(None)
        if self.parent.isEntered or sceneHasParameters(self.moduleName):
            self._connectParameterNode()

    def _connectParameterNode(self) -> None:
        self.panel.setParameters(self.logic.getParameterNode())


class BRBSTrainingLogic(ScriptedLoadableModuleLogic):
    """Studies and trainings, without a panel; for scripts, too.

    Attributes:
        engine: starts the engine's processes.
        inspector: the generated sample that is shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine()
        self.inspector = InspectorScene()
        self._settings = UserSettings()
        self._jobs: dict[Path, TrainingJob] = {}

    def getParameterNode(self):
        """The module's parameter node, wrapped."""
        return BRBSTrainingParameterNode(super().getParameterNode())

    # ---- study

    def createStudy(self, folder: str | Path) -> StudyFolder:
        """Begins a study in a folder, which is made where needed.

        Raises:
            InputError: there is a study already, or the folder cannot be written.
        """
        study = StudyFolder.create(folder)
        self._settings.rememberStudy(study.folder)
        return study

    def openStudy(self, folder: str | Path) -> StudyFolder:
        """Opens the study of a folder.

        Raises:
            InputError: no study there, damaged, or written by a newer version.
        """
        study = StudyFolder.open(folder)
        self._settings.rememberStudy(study.folder)
        return study

    def addAtlas(self, study: StudyFolder, volumeNode, segmentationNode) -> str:
        """Adds a volume and its segmentation as an atlas; both nodes stay as they are.

        A volume that is still as it was read from its file is referred to by that file, any other is exported into the
        study. The segmentation is exported on the volume's grid with names, colours and terminology.

        Returns:
            What the user should know (a transform was applied to the copy, say); may be empty.

        Raises:
            InputError: a node cannot be used, or a file not be written.
        """
        image, labels, schema, note = atlasFiles(study, volumeNode, segmentationNode)
        study.addAtlas(image, labels, schema)
        return note

    def addUnlabeled(self, study: StudyFolder, volumeNodeOrPath) -> str:
        """Adds a scan without annotation: a volume node, a file or a folder with a DICOM series.

        Returns:
            What the user should know; may be empty.

        Raises:
            InputError: the node cannot be used, or a file not be written.
        """
        if isinstance(volumeNodeOrPath, str | os.PathLike):
            study.addUnlabeled([Path(volumeNodeOrPath)])
            return ""
        image, note = scanFile(study, volumeNodeOrPath)
        study.addUnlabeled([image])
        return note

    # ---- training

    def startTraining(
        self, study: StudyFolder, minutes: float | None = None, steps: int | None = None, device: str = "auto"
    ) -> TrainingJob:
        """Starts a training in the background and returns at once.

        Args:
            study: what to train on.
            minutes: time limit; none: no limit.
            steps: number of steps; none: as many as the minutes allow, or those of the balanced quality.
            device: "auto", "cpu", "cuda:0", ..., or "cuda:all" for all GPUs together.

        Raises:
            InputError: the study is being trained already, or the engine cannot be started.
        """
        budget = [("--minutes", minutes), ("--steps", steps)]
        options = [part for name, value in budget if value is not None for part in (name, str(value))]
        model = study.newModelFolder()
        if not study.refresh():  # what others have written counts
            study.save()
        return self._launch(study, model, ["--study", str(study.folder), *options], device, {})

    def resumeTraining(self, study: StudyFolder, job: TrainingJob, device: str = "auto") -> TrainingJob:
        """Goes on with a training that was stopped or interrupted, from its last checkpoint.

        Raises:
            InputError: the study is being trained already, or the engine cannot be started.
        """
        options = ["--study", str(study.folder), "--resume"]
        return self._launch(study, job.model, options, device, job.description)

    def stopTraining(self, job: TrainingJob) -> None:
        """Asks a training to end; model and checkpoint are written."""
        job.stop()

    def waitForJob(self, job: TrainingJob, timeoutSeconds: float = 600.0) -> bool:
        """Waits until a job has ended; the application stays alive meanwhile.

        Returns:
            False when the time was up before.
        """
        end = time.monotonic() + timeoutSeconds
        while job.active and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.05)
        return not job.active

    def lastJob(self, study: StudyFolder) -> TrainingJob | None:
        """The newest training of a study, from this or an earlier Slicer, whose record can be read."""
        jobs = (self._jobs.get(folder) or TrainingJob(folder) for folder in study.modelFolders)
        job = next((job for job in jobs if job.readable), None)
        if job is not None:
            self._jobs[job.model] = job
        return job

    def models(self) -> list[KnownModel]:
        """The models that this user has trained or added, the newest first."""
        return knownModels(self._settings)

    def inspect(
        self, model: str | Path, atlas: str, style: str | Path, space: str | Path, device: str = "auto"
    ) -> InspectorScene:
        """Generates a sample and shows it as nodes; the application stays alive meanwhile.

        Args:
            model: folder of a model.
            atlas: name of one of its atlases.
            style: scan whose style is taken.
            space: scan whose shape is taken.
            device: "auto", "cpu", "cuda:0", ...

        Returns:
            The sample, which follows ``setAlpha`` and ``setBeta``.

        Raises:
            InputError: nothing can be generated from these, or the engine cannot be started.
        """
        model, style, space = (Path(path).absolute() for path in (model, style, space))  # the engine runs elsewhere
        run = InspectorRun(self.engine)
        try:
            run.start(InspectorRequest(model, atlas, style, space, device=device, samples=0))
            while not run.poll():
                slicer.app.processEvents()
                time.sleep(0.05)
            self.inspector.load(run.folder)
        finally:
            run.close()
        return self.inspector

    def _launch(self, study: StudyFolder, model: Path, options: list[str], device: str, description) -> TrainingJob:
        last = self.lastJob(study)
        if holder := study.lockHolder:
            raise InputError(holder)
        if last is not None and last.active:  # it has not locked the study yet, or has slept with its computer
            raise InputError(_("{model}: is being trained; wait for it, or stop it").format(model=last.model))
        folder = model / TRAINING_FOLDER
        queue_job(folder, **{**description, "study": str(study.folder), "output": str(model)})
        arguments = trainCommand([*options, "--output", str(model)], device)
        try:
            process = self.engine.start(arguments, folder / LOG_FILE, detached=True)
        except InputError:
            if not description:  # nothing of an earlier training is in there
                shutil.rmtree(model, ignore_errors=True)
            raise
        self._jobs[model] = TrainingJob(model, process)
        return self._jobs[model]


class BRBSTrainingTest(ScriptedLoadableModuleTest):
    """Self-test: trains a few steps on a tiny made-up study and looks at model and plots."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """*Reload and Test*, which knows of no test that is skipped."""
        self.setUp()
        try:
            self.test_train()
        except unittest.SkipTest as skipped:
            self.delayDisplay(_("Test passed without the engine: {reason}").format(reason=skipped))

    def test_train(self) -> None:
        """From nodes in the scene to a model on disk and curves in the plot view."""
        from BRBSTrainingLib.SelfTest import trainTinyStudy

        self.delayDisplay(_("Training five steps on a tiny study"))
        trainTinyStudy(BRBSTrainingLogic())
        self.delayDisplay(_("Test passed"))
