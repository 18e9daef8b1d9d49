"""Saves pictures of the panels in each of their states, to be looked at.

    python Testing/Python/gui/screenshots.py --output DIR [--demo DIR]

With the folder that ``brbs demo`` has written, segmentations and generated samples are those of networks that have
learned something. Pictures named tutorial-* go to Resources/Screenshots as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
TESTING = Path(__file__).resolve().parents[1]
ROOT = TESTING.parents[1]
sys.path[:0] = [str(TESTING), str(TESTING / "engine"), str(ROOT / "BRBSTraining"), str(ROOT / "BRBSSegmentation")]

WIDTH = 380  # pixels: a narrow module panel


def main() -> None:
    """Goes through the states with a made-up study of few, tiny scans."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--demo", type=Path, metavar="DIR")
    chosen = arguments.parse_args()
    output = chosen.output
    output.mkdir(parents=True, exist_ok=True)

    from standin.scene import installScene
    from standin.widgets import installWidgets

    installScene()
    application = installWidgets()
    application.settings().clear()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        common = (application, output, Path(folder))
        tours = (
            lambda: TrainingTour(*common, chosen.demo),
            lambda: SegmentationTour(*common, chosen.demo),
            lambda: tutorial(*common, chosen.demo),
        )
        for makeTour in tours:
            tour = makeTour()
            try:
                tour.run()
            finally:
                tour.close()


def tutorial(application, output: Path, folder: Path, demo: Path | None):
    """The tour whose pictures the tutorial shows, in a fresh scene."""
    import slicer
    from tutorial_tour import TutorialTour

    application.settings().clear()
    slicer.mrmlScene.Clear()
    return TutorialTour(lambda panel, name: save(application, panel, output / name), folder, demo)


class TrainingTour:
    """One state of the training panel after the other.

    Args:
        application: the running application.
        output: folder of the pictures.
        folder: for files that are needed on the way.
        demo: what ``brbs demo`` has written; None: the inspector shows networks of the tour's own first steps.
    """

    def __init__(self, application, output: Path, folder: Path, demo: Path | None = None) -> None:
        from standin.scripted_module import openModule

        import BRBSTraining

        self._application, self._output, self._folder, self._demo = application, output, folder, demo
        self._widget = openModule(BRBSTraining.BRBSTrainingWidget)

    def run(self) -> None:
        """Takes all pictures."""
        from panel_user import wait

        ui, session = self._widget.ui, self._widget.panel.session
        self._save("1 empty")
        wait(lambda: not session.report.busy)
        self._lackPackages(session)
        self._fill(session, ui)
        ui.advancedGroup.collapsed = False
        self._save("4 ready")
        ui.advancedGroup.collapsed = True
        ui.logGroup.collapsed = False
        session.start(None, 2000, "cpu")
        wait(lambda: session.job.progress > 0.006)
        self._save("5 running")
        session.job.pause()
        wait(lambda: session.job.state == "paused")
        self._save("6 paused")
        session.job.stop()
        wait(lambda: session.job.state == "finished")
        self._save("7 finished")
        if self._demo is None:
            self._inspect(ui)
        session.goOn("cpu")
        wait(lambda: session.job.state == "running")
        session.job.kill()
        wait(lambda: session.job.state == "failed")
        self._save("8 failed")
        if self._demo is not None:
            self._openDemo(session, ui)
            self._inspect(ui)

    def _openDemo(self, session, ui) -> None:
        from panel_user import wait

        study = self._folder / "Invented kidneys"
        shutil.copytree(self._demo / "study", study)
        shutil.copytree(self._demo / "model", study / "models" / "001")
        ui.studyPathEdit.currentPath = str(study)
        wait(lambda: session.study is not None and session.study.folder == study and not session.checking)

    def _inspect(self, ui) -> None:
        from panel_user import wait

        others = (ui.structuresSection, ui.atlasSection, ui.scanSection, ui.settingsSection, ui.trainSection)
        for section in others:
            section.collapsed = True
        ui.inspectorSection.collapsed = False
        self._save("9 inspector")
        ui.spaceCombo.currentIndex = ui.spaceCombo.count - 1
        ui.generateButton.click()
        self._save("10 inspector generating")
        wait(lambda: ui.generateButton.enabled)
        ui.alphaSlider.value, ui.betaSlider.value, ui.overlayCombo.currentIndex = 0.75, 0.4, 3
        self._save("11 inspector generated")
        ui.inspectorSection.collapsed = True
        for section in others:
            section.collapsed = False

    def close(self) -> None:
        """Leaves no training behind, which would outlive this program."""
        if self._widget.panel.session.job is not None:
            self._widget.panel.session.job.kill()
        self._widget.cleanup()

    def _save(self, name: str) -> None:
        self._widget.panel.tick()
        save(self._application, self._widget.parent, self._output / f"training {name}.png")

    def _lackPackages(self, session) -> None:
        known = session.report.content
        session.report.content = known | {"missing": ["torch", "safetensors"], "torch": None, "devices": []}
        session.report.problem = session.report._complaint()
        session._changed.add("engine")
        self._save("2 packages missing")
        session.report.content, session.report.problem = known, ""
        session._changed.add("engine")

    def _fill(self, session, ui) -> None:
        from panel_user import wait
        from tiny_study import SETTINGS

        from brbs.pairing import find_pairs
        from brbs.synthetic import make_study

        files = make_study(self._folder / "files", atlases=3, unlabeled=12, test=1, size=(32, 36, 32)) / "atlases"
        ui.studyPathEdit.currentPath = str(self._folder / "Kidneys")
        ui.createStudyButton.click()
        session.addAtlases(find_pairs(files), str(files))
        session.addFiles([files.parent / "unlabeled" / "images"])
        session.changeStudy(lambda study: study.setSettings(SETTINGS))
        wait(lambda: session.items and not session.checking)
        (files / "labels" / "atlas_02.nii.gz").rename(files / "labels" / "elsewhere.nii.gz")
        session.changeStudy(lambda study: None)
        wait(lambda: not session.checking)
        self._save("3 atlas without its file")
        (files / "labels" / "elsewhere.nii.gz").rename(files / "labels" / "atlas_02.nii.gz")
        session.changeStudy(lambda study: None)
        wait(lambda: session.blocker is None)


class SegmentationTour:
    """One state of the segmentation panel after the other.

    Args:
        application: the running application.
        output: folder of the pictures.
        folder: for files that are needed on the way.
        demo: what ``brbs demo`` has written; None: a model with random weights serves.
    """

    def __init__(self, application, output: Path, folder: Path, demo: Path | None = None) -> None:
        from standin.scripted_module import openModule

        import BRBSSegmentation

        self._demo = demo
        application.settings().clear()
        self._application, self._output, self._folder = application, output, folder
        self._widget = openModule(BRBSSegmentation.BRBSSegmentationWidget)

    def run(self) -> None:
        """Takes all pictures."""
        from panel_user import wait

        ui = self._widget.ui
        self._save("1 no model")
        self._widget.logic.addModel(self._model())
        self._widget.enter()
        ui.inputSelector.setCurrentNode(self._scans(1)[0])
        self._save("2 ready")
        ui.applyButton.click()
        self._save("3 running")
        wait(lambda: "Done" in ui.stateLabel.text)
        self._save("4 finished")
        ui.inputSelector.setCurrentNode(self._constant())
        ui.applyButton.click()
        wait(lambda: ui.applyButton.enabled)
        self._save("5 failed")
        self._batch(ui)
        self._rank(ui)

    def close(self) -> None:
        """Ends the worker."""
        self._widget.cleanup()

    def _model(self) -> Path:
        from tiny_model import tiny_bundle

        if self._demo is not None:
            return self._demo / "model"
        provenance = {"atlases": ["a", "b", "c"], "dice": {"mean": 0.862}, "validation": "annotated scans"}
        tiny_bundle(provenance=provenance | {"date": "2026-01-31"}).save(self._folder / "Kidney model")
        return self._folder / "Kidney model"

    def _scans(self, count: int) -> list:
        """Volume nodes of so many patients; those that are there already are not made again."""
        import slicer
        from training_nodes import addSubject

        from BRBSTrainingLib.Annotation import scanNode

        files = sorted((self._demo / "study/test/images").iterdir()) if self._demo is not None else []
        for number in range(1, count + 1):
            if not slicer.util.getNodes(f"Patient {number}"):
                node = scanNode(files[number - 1]) if files else addSubject(number)[0]
                node.SetName(f"Patient {number}")
        return [slicer.util.getNode(f"Patient {number}") for number in range(1, count + 1)]

    def _batch(self, ui) -> None:
        from panel_user import wait

        for section in (ui.modelSection, ui.applySection, ui.resultSection):
            section.collapsed = True
        ui.batchSection.collapsed = False
        self._save("6 many scans, none yet")
        self._scans(7)
        ui.addBatchVolumesButton.click()
        ui.batchOutputEdit.currentPath = str(self._folder / "Results")
        ui.startBatchButton.click()
        wait(lambda: "scan 4 of" in ui.batchStateLabel.text)
        self._save("7 many scans, running")
        wait(lambda: "The table is" in ui.batchStateLabel.text)
        self._save("8 many scans, finished")
        ui.batchSection.collapsed = True

    def _rank(self, ui) -> None:
        from panel_user import wait
        from tiny_model import tiny_bundle
        from tiny_study import write_study

        from BRBSTraining import BRBSTrainingLogic

        files = write_study(self._folder / "ranked", unlabeled=5)
        study = BRBSTrainingLogic().createStudy(self._folder / "Livers")
        study.addAtlas(files / "images/atlas 0.nii.gz", files / "labels/atlas 0.seg.nrrd")
        study.addUnlabeled(sorted((files / "unlabeled").iterdir()))
        tiny_bundle().save(study.folder / "models/001")
        self._widget.enter()
        ui.modelSelector.setCurrentText("Livers 001")
        ui.rankSection.collapsed = False
        self._save("9 not ranked")
        ui.rankButton.click()
        wait(lambda: "Annotate the first" in ui.rankLabel.text)
        self._save("10 ranked")

    def _constant(self):
        import numpy as np
        import slicer

        return slicer.util.addVolumeFromArray(np.zeros((8, 8, 8), np.int16), name="empty scan")

    def _save(self, name: str) -> None:
        save(self._application, self._widget.parent, self._output / f"segmentation {name}.png")


def save(application, panel, path: Path) -> None:
    """The whole panel, as high as it is when nothing has to be scrolled."""
    from PyQt5.QtWidgets import QLabel

    labels = [label for label in panel.findChildren(QLabel) if label.wordWrap]
    for _ in range(3):  # a word-wrapped label knows its height only after it has its width
        for label in labels:  # which the sections of the stand-in do not pass on
            label.setMinimumHeight(max(label.heightForWidth(label.width), 0))
        panel.setFixedWidth(WIDTH)
        panel.resize(WIDTH, panel.layout().totalHeightForWidth(WIDTH))
        application.processEvents()
    panel.grab().save(str(path))
    print(path)


if __name__ == "__main__":
    main()
