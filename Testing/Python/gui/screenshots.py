"""Saves pictures of the training panel in each of its states, to be looked at.

    python Testing/Python/gui/screenshots.py --output DIR
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
TESTING = Path(__file__).resolve().parents[1]
ROOT = TESTING.parents[1]
sys.path[:0] = [str(TESTING), str(TESTING / "engine"), str(ROOT / "BRBSTraining")]

WIDTH = 380  # pixels: a narrow module panel


def main() -> None:
    """Goes through the states with a made-up study of few, tiny scans."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    output = arguments.parse_args().output
    output.mkdir(parents=True, exist_ok=True)

    from standin.scene import installScene
    from standin.widgets import installWidgets

    installScene()
    application = installWidgets()
    application.settings().clear()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        tour = Tour(application, output, Path(folder))
        try:
            tour.run()
        finally:
            tour.close()


class Tour:
    """One state of the panel after the other.

    Args:
        application: the running application.
        output: folder of the pictures.
        folder: for files that are needed on the way.
    """

    def __init__(self, application, output: Path, folder: Path) -> None:
        from standin.scripted_module import openModule

        import BRBSTraining

        self._application, self._output, self._folder = application, output, folder
        self._widget = openModule(BRBSTraining.BRBSTrainingWidget)

    def run(self) -> None:
        """Takes all pictures."""
        ui, session = self._widget.ui, self._widget.panel.session
        self._save("1 empty")
        self._wait(lambda: not session.report.busy)
        self._lackPackages(session)
        self._fill(session, ui)
        ui.advancedGroup.collapsed = False
        self._save("4 ready")
        ui.advancedGroup.collapsed = True
        ui.logGroup.collapsed = False
        session.start(None, 2000, "cpu")
        self._wait(lambda: session.job.progress > 0.006)
        self._save("5 running")
        session.job.pause()
        self._wait(lambda: session.job.state == "paused")
        self._save("6 paused")
        session.job.stop()
        self._wait(lambda: session.job.state == "finished")
        self._save("7 finished")
        session.goOn("cpu")
        self._wait(lambda: session.job.state == "running")
        session.job.kill()
        self._wait(lambda: session.job.state == "failed")
        self._save("8 failed")

    def close(self) -> None:
        """Leaves no training behind, which would outlive this program."""
        if self._widget.panel.session.job is not None:
            self._widget.panel.session.job.kill()
        self._widget.cleanup()

    def _lackPackages(self, session) -> None:
        known = session.report.content
        session.report.content = known | {"missing": ["torch", "monai"], "torch": None, "devices": []}
        session.report.problem = session.report._complaint()
        session._changed.add("engine")
        self._save("2 packages missing")
        session.report.content, session.report.problem = known, ""
        session._changed.add("engine")

    def _fill(self, session, ui) -> None:
        from tiny_study import SETTINGS

        from brbs.synthetic import make_study

        files = make_study(self._folder / "files", atlases=3, unlabeled=12, test=1, size=(32, 36, 32)) / "atlases"
        ui.studyPathEdit.currentPath = str(self._folder / "Kidneys")
        ui.createStudyButton.click()
        session.addAtlasFolder(files)
        session.addFiles([files.parent / "unlabeled" / "images"])
        session.changeStudy(lambda study: study.setSettings(SETTINGS))
        self._wait(lambda: session.items and not session.checking)
        (files / "labels" / "atlas_02.nii.gz").rename(files / "labels" / "elsewhere.nii.gz")
        session.changeStudy(lambda study: None)
        self._wait(lambda: not session.checking)
        self._save("3 atlas without its file")
        (files / "labels" / "elsewhere.nii.gz").rename(files / "labels" / "atlas_02.nii.gz")
        session.changeStudy(lambda study: None)
        self._wait(lambda: session.blocker is None)

    def _wait(self, condition, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("the panel did not get there in time")
            self._application.processEvents()
            time.sleep(0.02)

    def _save(self, name: str) -> None:
        """The whole panel, as high as it is when nothing has to be scrolled."""
        panel = self._widget.parent
        self._widget.panel.tick()
        for _ in range(3):  # a word-wrapped label knows its height only after it has its width
            panel.setFixedWidth(WIDTH)
            panel.resize(WIDTH, panel.layout().totalHeightForWidth(WIDTH))
            self._application.processEvents()
        path = self._output / f"training {name}.png"
        panel.grab().save(str(path))
        print(path)


if __name__ == "__main__":
    main()
