"""The panel of the module: its sections, and a clock that keeps them up to date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError

from .AtlasSection import AtlasSection
from .EngineSection import EngineSection
from .FormConnection import FormConnection
from .InspectorSection import InspectorSection
from .ScanSection import ScanSection
from .SettingsSection import SettingsSection
from .StructuresSection import StructuresSection
from .StudyFolder import StudyFolder
from .StudySession import ENGINE, FILES, JOB, NOTICE, STUDY, StudySession
from .TrainSection import TrainSection
from .TypedPath import TypedPath

TICK_MILLISECONDS, HURRIED_MILLISECONDS = 250, 40  # pauses, in which the application has its turn
STATUS_MILLISECONDS = 5000  # that a message stays in the status bar


class TrainingPanel:
    """Puts the sections together and passes the session's changes on to them.

    Args:
        ui: the form's widgets by name.
        logic: the module's logic.
    """

    def __init__(self, ui, logic) -> None:
        self._ui = ui
        self.session = StudySession(logic)
        self._form = FormConnection(ui)
        self._asked = False
        self._settings = SettingsSection(ui, self.session, self.guard)
        atlases = AtlasSection(ui, self.session, self.guard)
        scans = ScanSection(ui, self.session, self.guard)
        train = TrainSection(ui, self.session, self._settings, self.guard)
        self._engine = EngineSection(ui, self.session, self.guard)
        self._inspector = InspectorSection(ui, self.session, self._settings, self.guard)
        self._sections = [
            (StructuresSection(ui, self.session, self.guard), {STUDY, FILES}),
            (atlases, {STUDY, FILES}),
            (scans, {STUDY, FILES}),
            (self._settings, {STUDY, FILES, ENGINE}),
            (self._engine, {ENGINE}),
            (train, {STUDY, FILES, ENGINE, JOB}),
            (self._inspector, {STUDY, FILES, ENGINE, JOB}),
        ]
        ui.studyPathEdit.connect("currentPathChanged(QString)", lambda path: self._showStudy())
        self._typed = TypedPath(ui.studyPathEdit, lambda path: self.guard(lambda: self._choose(path)))
        ui.createStudyButton.connect("clicked(bool)", lambda checked: self.guard(self._create))
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MILLISECONDS)
        self._timer.connect("timeout()", self.tick)
        self._timer.start()

    def close(self) -> None:
        """Stops watching; a training goes on."""
        self._timer.stop()
        self._typed.close()
        self._engine.close()
        self._inspector.close()
        self.setParameters(None)
        self.session.close()

    def enter(self) -> None:
        """The module is shown."""
        if not self._asked:
            self._asked = True
            self.session.askEngine()
        self.guard(self.session.lookAgain)

    def setParameters(self, parameters) -> None:
        """Follows a parameter node: the study, the preset, ... that it names; None: none."""
        if not self._form.follow(parameters):
            return
        self._settings.setParameters(parameters)
        if parameters is not None:
            self._restoreStudy()
            self.guard(self.session.lookAgain)  # another scene holds other annotations

    def guard(self, action: Callable[[], object]) -> None:
        """Runs an action; what is wrong with its input is shown, not raised."""
        try:
            action()
        except InputError as error:
            self.session.say(str(error))
        self.tick()

    def tick(self) -> None:
        """Takes in what has happened and shows it."""
        try:
            self._inspector.poll()
            changed = self.session.tick()
        except InputError as error:
            self.session.say(str(error))
            changed = {STUDY, FILES, NOTICE}
        if NOTICE in changed:
            self._showNotice()
        for section, concerns in self._sections:
            if changed & concerns:
                self._update(section)
        if STUDY in changed:
            self._showStudy()
        self._timer.setInterval(HURRIED_MILLISECONDS if self.session.hasMore else TICK_MILLISECONDS)

    def _update(self, section) -> None:
        """Lets a section show what has changed; where a file is damaged, that is told, and the others go on."""
        try:
            section.update()
        except InputError as error:
            self.session.say(str(error))
            self._showNotice()

    def _showNotice(self) -> None:
        """In the panel, whose top may be out of sight, and in the application's status bar."""
        notice = self.session.notice
        self._ui.noticeLabel.text = notice
        self._ui.noticeLabel.visible = bool(notice)
        if notice:
            slicer.util.showStatusMessage(notice, STATUS_MILLISECONDS)

    # ---- the study's folder

    def show(self, folder: Path) -> None:
        """Opens the study of a folder."""
        self._ui.studyPathEdit.currentPath = str(folder)
        self.guard(lambda: self._choose(str(folder)))  # the widget says nothing where it has shown this path already

    def _choose(self, path: str) -> None:
        study = self.session.study
        if path and StudyFolder.holdsStudy(path) and (study is None or Path(path) != study.folder):
            self.session.open(path)
            self._remember()
        self._showStudy()

    def _create(self) -> None:
        self.session.create(self._ui.studyPathEdit.currentPath)
        self._remember()

    def _remember(self) -> None:
        self._ui.studyPathEdit.blockSignals(True)  # it goes through its list meanwhile
        self._ui.studyPathEdit.addCurrentPathToHistory()
        self._ui.studyPathEdit.blockSignals(False)
        if self._form.parameters is not None:
            self._form.parameters.studyFolder = str(self.session.study.folder)

    def _restoreStudy(self) -> None:
        """A scene opens the study it was saved with; else the one that is open stays, or the last one is opened."""
        saved = self._form.parameters.studyFolder
        if saved and StudyFolder.holdsStudy(saved):
            self.show(Path(saved))
        elif self.session.study is not None:
            self._form.parameters.studyFolder = str(self.session.study.folder)
        else:
            self.guard(lambda: self._choose(self._ui.studyPathEdit.currentPath))

    def _showStudy(self) -> None:
        path, study = self._ui.studyPathEdit.currentPath, self.session.study
        isOpen = study is not None and bool(path) and Path(path) == study.folder
        self._ui.createStudyButton.enabled = bool(path) and not StudyFolder.holdsStudy(path)
        if isOpen:
            counts = _("Atlases: {atlases}, unlabeled scans: {scans}, trainings: {trainings}.")
            text = counts.format(
                atlases=len(study.study.atlases),
                scans=len(study.study.unlabeled),
                trainings=len(study.modelFolders),
            )
        elif path and not StudyFolder.holdsStudy(path):
            text = _("No study here yet; press Create to begin one.")
        else:
            text = _("Choose the folder of a study, or an empty one to begin one.")
        self._ui.studyLabel.text = text
