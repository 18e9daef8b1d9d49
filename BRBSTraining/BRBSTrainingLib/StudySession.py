"""What the panel works on: the open study, what is known of its files, the engine and the training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from typing import TypeVar

from slicer.i18n import tr as _

from brbs.checks import CheckedItem, trainable
from brbs.errors import InputError
from brbs.image_files import image_suffix, is_dicom_folder
from brbs.label_schema import LabelSchema
from brbs.pairing import Found, find_pairs
from brbs.study import with_dataset_names

from .Annotation import Annotation, annotatedVolume, annotations, beginAnnotation, endAnnotation, scanFiles
from .EngineReport import EngineReport
from .SceneImport import exportedFile, scanFile
from .SceneNode import SceneNode
from .SceneScans import SOURCE_ATTRIBUTE, sceneScans
from .StudyChecker import StudyChecker
from .StudyFolder import StudyFolder
from .TrainingJob import TrainingJob
from .TrainingPlots import TrainingPlots
from .TrainingWatch import TrainingWatch
from .VolumeExport import readFile

EXPORT_SECONDS = 0.03  # of one tick that exports of waiting volumes may begin in
STUDY, FILES, ENGINE, JOB, NOTICE = "study", "files", "engine", "job", "notice"
Result = TypeVar("Result")
ALL = frozenset((STUDY, FILES, ENGINE, JOB, NOTICE))


class StudySession:
    """State of the panel, without widgets. :meth:`tick` is called often and never takes long.

    Attributes:
        logic: the module's logic.
        study: the open study; None: none.
        report: what the engine can do.
        annotations: those begun for the study, by scan, as they were when last looked at.
        notice: what happened last, for people.
    """

    def __init__(self, logic) -> None:
        self.logic = logic
        self.study: StudyFolder | None = None
        self.report = EngineReport(logic.engine)
        self.plots = TrainingPlots()
        self._training = TrainingWatch(None, self.plots)
        self.annotations: dict[Path, Annotation] = {}
        self.notice = ""
        self._checker = StudyChecker(logic.engine)
        self._waiting: list[SceneNode] = []  # volumes to be added
        self._changed: set[str] = set(ALL)
        self._jobProblem = ""
        self._checkDue = False

    def close(self) -> None:
        """Stops looking at files and devices; a training goes on."""
        self._checker.close()
        self.report.close()

    # ---- the study

    def create(self, folder: str) -> None:
        """Begins a study and opens it.

        Raises:
            InputError: as :meth:`StudyFolder.create`.
        """
        self._take(self.logic.createStudy(folder))

    def open(self, folder: str) -> None:
        """Opens a study and finds its training again.

        Raises:
            InputError: as :meth:`StudyFolder.open`.
        """
        self._take(self.logic.openStudy(folder))

    def _take(self, study: StudyFolder) -> None:
        self.study, self._waiting, self._checkDue = study, [], False
        self._watch(self.logic.lastJob(study))
        self._checker.check(study)
        self._lookAtAnnotations()
        self.say(_("Opened the study {name}.").format(name=study.name))
        self._changed |= ALL

    def say(self, text: str) -> None:
        """Tells the user something."""
        self.notice = text
        self._changed.add(NOTICE)

    def changeStudy(self, change: Callable[[StudyFolder], Result]) -> Result:
        """Changes the study and looks at what is new in it; returns what the change returns.

        Raises:
            InputError: what the change raises.
        """
        result = change(self.study)
        self._checker.check(self.study)
        self._changed |= {STUDY, FILES}
        return result

    # ---- scans

    def item(self, image: Path, labels: Path | None = None) -> CheckedItem | None:
        """What is known of an atlas or scan; None: it is still being looked at."""
        return self._checker.items.get((image, labels))

    @property
    def items(self) -> list[CheckedItem]:
        """What is known of all atlases and scans."""
        return list(self._checker.items.values())

    @property
    def checking(self) -> bool:
        """Whether files are being looked at."""
        return self._checker.busy

    def addAtlas(self, volumeNode, segmentationNode) -> None:
        """Adds an atlas from the scene.

        Raises:
            InputError: as the logic's ``addAtlas``.
        """
        note = self.changeStudy(lambda study: self.logic.addAtlas(study, volumeNode, segmentationNode))
        self.say(" ".join([_("Added {name} as an atlas.").format(name=volumeNode.GetName()), note]).strip())

    def addAtlases(self, found: Found, where: str) -> None:
        """Adds pairs as atlases, and scans without label map as unlabeled ones.

        Args:
            found: pairs and single scans.
            where: they were found, for people.

        Raises:
            InputError: there is no pair, or the study cannot be written.
        """
        if not found.atlases:
            problem = _("no pair of scan and label map found")
            remedy = _("name them alike (scan.nii.gz with scan.seg.nrrd or scan-label.nii.gz)")
            other = _("or use sub-folders images and labels")
            raise InputError(f"{where}: {problem}; {remedy}, {other}")

        def add(study: StudyFolder) -> None:
            for atlas in found.atlases:
                study.addAtlas(atlas.image, atlas.labels)
            study.addUnlabeled(found.scans)

        self.changeStudy(add)
        told = _("Added {atlases} atlases and {scans} unlabeled scans.")
        without = _("Label maps without a scan were left out: {names}.")
        orphans = ", ".join(path.name for path in found.orphans)
        text = told.format(atlases=len(found.atlases), scans=len(found.scans))
        self.say(f"{text} {without.format(names=orphans)}" if orphans else text)

    def addFiles(self, paths: Iterable[Path]) -> None:
        """Adds image files, and all images of folders, as unlabeled scans.

        Raises:
            InputError: none of them is an image, or the study cannot be written.
        """
        images = [image for path in paths for image in _imagesOf(Path(path))]
        if not images:
            raise InputError(_("No images there; NIfTI, NRRD, MetaImage files and DICOM folders can be added."))
        count = self.changeStudy(lambda study: study.addUnlabeled(images))
        twice = len(images) - count
        text = _("Added {count} scans.").format(count=count)
        self.say(f"{text} {_('{count} were in the study already.').format(count=twice)}" if twice else text)

    def addVolumes(self, volumeNodes: Iterable) -> None:
        """Adds volumes of the scene as unlabeled scans, one after the other in later ticks."""
        self._waiting += [SceneNode(node) for node in volumeNodes]

    def newVolumes(self) -> list:
        """Volumes of the scene that are not in the study and are no label map or the like."""
        known = {Path(atlas.image) for atlas in self.study.study.atlases} | set(self.study.study.unlabeled)
        return [node for node in sceneScans() if not _isIn(node, known)]

    def annotate(self, scan: Path) -> None:
        """Opens an unlabeled scan in the Segment Editor, with what was drawn on it before.

        Raises:
            InputError: it cannot be loaded.
        """
        beginAnnotation(scan, self.study.folder, self.study.study.schema)
        self._lookAtAnnotations()

    def lookAgain(self) -> None:
        """Takes in what others have added to the study, and how far annotations are; tells which ones wait.

        Raises:
            InputError: the study cannot be read.
        """
        if self.study is None:
            return
        if self.study.refresh():  # BRBS Segmentation has added an atlas, say
            self.changeStudy(lambda study: None)
        job = self.logic.lastJob(self.study)
        if job is not self.job:  # begun by a script, say, or put back
            self._watch(job)
        self._lookAtAnnotations()
        waiting = [one for one in self.annotations.values() if one.scan in self.study.study.unlabeled]
        if waiting:
            told = [one.text(self.study.study.schema) for one in waiting]
            self.say(" ".join([*told, _("Press Annotation done when it is complete.")]))

    def finishAnnotation(self, scan: Path) -> None:
        """Makes an annotation an atlas.

        Raises:
            InputError: it was deleted, nothing is drawn in it, or as the logic's ``addAtlas``.
        """
        self._lookAtAnnotations()
        annotation = self.annotations.get(scan)
        if annotation is None:
            raise InputError(_("The annotation of {scan} is no longer in the scene.").format(scan=scan.name))
        missing = annotation.missing(self.study.study.schema)
        self.addAtlas(annotatedVolume(annotation), annotation.segmentationNode)
        self.changeStudy(lambda study: study.removeUnlabeled([scan]))  # the volume may be a copy
        endAnnotation(annotation.segmentationNode)
        self._lookAtAnnotations()
        if missing:
            self.say(f"{self.notice} {_('Nothing is drawn for {names}.').format(names=', '.join(missing))}")

    def _lookAtAnnotations(self) -> None:
        """Measures what is drawn, which takes too long to be done in every tick."""
        self.annotations = annotations(self.study.folder)
        self._changed.add(STUDY)

    def setSchema(self, schema: LabelSchema) -> None:
        """Sets the structures.

        Raises:
            InputError: the study cannot be written.
        """
        self.changeStudy(lambda study: study.setSchema(schema))

    # ---- training

    @property
    def job(self) -> TrainingJob | None:
        """The study's newest training; None: never trained."""
        return self._training.job

    @property
    def blocker(self) -> str | None:
        """Why training cannot be started, for people; None: it can."""
        if self.study is None:
            return _("Create or open a study first.")
        if self.job is not None and self.job.active:
            return _("This study is being trained.")
        if self._waiting:
            return _("{count} volumes are still being added.").format(count=len(self._waiting))
        if self._checkDue:
            return _("The added volumes are still to be checked.")
        reason = trainable(self.study.study, self.items)
        if reason is not None:
            return self._checker.problem or reason
        if self.report.busy:
            return _("Looking for the engine…")
        return self.report.problem or self.study.lockHolder

    def start(self, minutes: float | None, steps: int, device: str) -> None:
        """Starts a training.

        Raises:
            InputError: as the logic's ``startTraining``.
        """
        self._watch(self.logic.startTraining(self.study, minutes=minutes, steps=steps, device=device))
        self.say(_("Training runs in the background; you can keep using Slicer, or close it."))

    def goOn(self, device: str) -> None:
        """Goes on with the last training.

        Raises:
            InputError: as the logic's ``resumeTraining``.
        """
        self._watch(self.logic.resumeTraining(self.study, self.job, device=device))
        self.say(_("The training goes on from its last checkpoint."))

    def requestSample(self) -> None:
        """Asks the training for a generated sample, which is shown as soon as it is there."""
        self._training.requestSample()
        self.say(_("The training shows a sample after its current step…"))

    def askEngine(self) -> None:
        """Asks what the engine can do."""
        self.report.ask()
        self._changed.add(ENGINE)

    def _watch(self, job: TrainingJob | None) -> None:
        self._training = TrainingWatch(job, self.plots)
        self._changed |= {STUDY, JOB}

    # ---- time goes by

    @property
    def hasMore(self) -> bool:
        """Whether volumes or events are waiting to be taken in, so that the next tick should follow at once."""
        return bool(self._waiting) or self._checkDue or self._training.hasMore

    def tick(self) -> set[str]:
        """Takes in what has happened; returns which parts have changed since the last call.

        Raises:
            InputError: a waiting volume could not be added; the others follow in later ticks.
        """
        if self.report.poll():
            self._changed.add(ENGINE)
        if self._checker.poll():
            self._changed |= {STUDY, FILES} if self._growSchema() else {FILES}
        else:  # not all in one tick
            self._pollJob()
            self._addWaiting()
        changed, self._changed = self._changed, set()
        return changed

    def _growSchema(self) -> bool:
        """Structures found in label maps that the study does not know come into its table."""
        schema = self.study.study.schema
        annotated = [item for item in self.items if item.structures]
        found = reduce(LabelSchema.merge, [LabelSchema(item.structures) for item in annotated], schema)
        if found == schema:
            return False
        self.setSchema(with_dataset_names(found, annotated[0].labels.parent))
        return True

    def _pollJob(self) -> None:
        """Looks at the training; what is wrong with it is told once, and the rest of the tick goes on."""
        try:
            self._lookAtJob()
            self._jobProblem = ""
        except InputError as error:
            if str(error) != self._jobProblem:
                self._jobProblem = str(error)
                self.say(self._jobProblem)

    def _lookAtJob(self) -> None:
        if self._training.isGone:
            gone = _("{folder}: this training is gone; start another, or put it back and open BRBS Training again.")
            self.say(gone.format(folder=self.job.folder))
            self._watch(self.logic.lastJob(self.study))
        elif self._training.poll():
            self._changed.add(JOB)
            if self._training.hasEnded:
                self.say(self._ending())

    def _ending(self) -> str:
        if self.job.state == "failed":
            return _("The training has failed: {reason}").format(reason=self.job.message)
        name = f"{self.study.name} {self.job.model.name}"
        return _("The training has ended; the model {name} can be used in BRBS Segmentation.").format(name=name)

    def _addWaiting(self) -> None:
        """Exports some of the waiting volumes, at least one."""
        if not self._waiting:
            if self._checkDue:  # a tick of its own
                self._checkDue = False
                self._checker.check(self.study)
            return
        images, notes = [], []
        until = time.monotonic() + EXPORT_SECONDS
        try:
            while self._waiting and (not images or time.monotonic() < until):
                node = self._waiting.pop(0).node
                if node is not None:  # it may have been deleted since
                    image, note = scanFile(self.study, node)
                    images.append(image)
                    notes += [note] if note else []
        finally:
            self.study.addUnlabeled(images)
            self._changed |= {STUDY, FILES}
            self._checkDue = True
        added = _("Added {count} volumes; {waiting} are waiting.").format(count=len(images), waiting=len(self._waiting))
        self.say(" ".join([added, *notes]))


def _imagesOf(path: Path) -> list[Path]:
    """A file that is an image, a DICOM folder, or all scans of any other folder."""
    if path.is_dir() and not is_dicom_folder(path):
        found = find_pairs(path)
        return [*(atlas.image for atlas in found.atlases), *found.scans]
    return [path] if path.is_dir() or image_suffix(path) else []


def _isIn(node, known: set[Path]) -> bool:
    """Whether a volume is one of these scans: read from it or from a slice of it, or exported to it."""
    file, source = readFile(node), node.GetAttribute(SOURCE_ATTRIBUTE)
    if not known.isdisjoint({file, exportedFile(node), Path(source) if source else None}):
        return True
    return file is not None and file.parent in known and file in scanFiles(file.parent)
