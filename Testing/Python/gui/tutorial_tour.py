"""The pictures of Resources/Documentation/clinician.md, in its order: the sample study, from opening it to ranking."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import slicer
from panel_user import click, wait
from standin.scripted_module import openModule

import BRBSSegmentation
import BRBSTraining
from brbs.image_files import list_images
from BRBSTrainingLib.Annotation import scanNode
from BRBSTrainingLib.SampleStudy import NAME, TESTS, makeSampleStudy

TRAINING = ("study", "structures", "atlas", "scan", "settings", "train", "inspector")
PATIENCE = 600.0  # seconds; the engine times the device first, which takes long on a busy machine
SEGMENTATION = ("model", "apply", "result", "batch", "rank")


class TutorialTour:
    """What a reader of the tutorial does.

    Args:
        save: takes the picture of a panel under a name.
        folder: for files that are needed on the way.
        demo: what ``brbs demo`` has written, whose model has learned enough to be shown; None: one of few steps serves.
    """

    def __init__(self, save: Callable, folder: Path, demo: Path | None = None) -> None:
        self._picture, self._demo = save, demo
        self._study = makeSampleStudy(folder / NAME)
        self._results = folder / "Results"
        self._training = openModule(BRBSTraining.BRBSTrainingWidget)
        self._segmentation = None

    def run(self) -> None:
        """Takes all pictures."""
        session = self._training.panel.session
        wait(lambda: not session.report.busy, PATIENCE)
        self._lackPackages(session)
        self._training.panel.show(self._study.folder)
        wait(lambda: session.blocker is None, PATIENCE)
        self._save(self._training, "study", TRAINING, ("study", "structures", "atlas", "scan"))
        self._train(session)
        self._segmentation = openModule(BRBSSegmentation.BRBSSegmentationWidget)
        ui = self._segmentation.ui
        self._segment(ui)
        self._batch(ui)
        self._rank(ui)

    def close(self) -> None:
        """Leaves no training and no worker behind."""
        if self._training.panel.session.job is not None:
            self._training.panel.session.job.kill()
        for widget in filter(None, (self._training, self._segmentation)):
            widget.cleanup()

    def _lackPackages(self, session) -> None:
        known = session.report.content
        session.report.content = known | {"missing": ["torch", "safetensors"], "torch": None, "devices": []}
        session.report.problem = session.report._complaint()
        session._changed.add("engine")
        self._save(self._training, "install", TRAINING, ("study",))
        session.report.content, session.report.problem = known, ""
        session._changed.add("engine")

    def _train(self, session) -> None:
        ui = self._training.ui
        ui.presetSelector.setCurrentText("fast")
        self._training.panel.tick()
        click(ui.startButton)
        wait(lambda: session.job.progress > 0.02, PATIENCE)
        self._save(self._training, "train", TRAINING, ("settings", "train"))
        session.job.stop()
        wait(lambda: session.job.state == "finished", PATIENCE)
        if self._demo is not None:
            shutil.rmtree(session.job.model)
            shutil.copytree(self._demo / "model", session.job.model)

    def _segment(self, ui) -> None:
        self._segmentation.enter()
        for scan in list_images(self._study.folder / TESTS):
            scanNode(scan).SetName(scan.name.partition(".")[0])
        ui.inputSelector.setCurrentNode(slicer.util.getNode("test_01"))
        ui.modelSelector.setCurrentText(f"{NAME} 001")
        click(ui.applyButton)
        wait(lambda: "Done" in ui.stateLabel.text, PATIENCE)
        self._save(self._segmentation, "segment", SEGMENTATION, ("model", "apply", "result"))

    def _batch(self, ui) -> None:
        click(ui.addBatchVolumesButton)
        ui.batchOutputEdit.currentPath = str(self._results)
        click(ui.startBatchButton)
        wait(lambda: "The table is" in ui.batchStateLabel.text, PATIENCE)
        ui.batchTable.selectRow(0)
        self._save(self._segmentation, "batch", SEGMENTATION, ("batch",))

    def _rank(self, ui) -> None:
        click(ui.rankButton)
        wait(lambda: "Annotate the first" in ui.rankLabel.text and "Rank" in ui.rankButton.text, PATIENCE)
        ui.rankTable.selectRow(0)
        self._save(self._segmentation, "rank", SEGMENTATION, ("rank",))

    def _save(self, widget, name: str, sections: tuple[str, ...], open: tuple[str, ...]) -> None:
        """A panel with these sections open and the others closed."""
        for section in sections:
            getattr(widget.ui, f"{section}Section").collapsed = section not in open
        widget.panel.tick()
        self._picture(widget.parent, f"tutorial-{name}.png")
