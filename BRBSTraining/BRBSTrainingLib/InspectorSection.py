"""The panel's part that shows what the method generates."""

from __future__ import annotations

import shutil

import numpy as np
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.inspector_files import SAMPLES
from brbs.settings import PATH_CONCENTRATION

from .FileToSave import fileToSave
from .InspectorChooser import InspectorChooser
from .InspectorFigures import headers, rows, summary
from .InspectorLayout import InspectorLayout
from .InspectorPath import InspectorPath
from .InspectorRun import InspectorRun
from .InspectorScene import BOARD, GENERATED, JACOBIAN, MAGNITUDE, TARGET
from .RowTable import RowTable
from .Section import Guard, Section, onClick
from .SettingsSection import SettingsSection
from .StudySession import StudySession

OVERLAYS = (None, TARGET, BOARD, JACOBIAN, MAGNITUDE)
TABLE_ROWS = 6  # that the table is high enough for; more are scrolled


class InspectorSection(Section):
    """Generates a sample and lets the user move along its path.

    Args:
        settings: tells the device; the others are those of every section.
    """

    def __init__(self, ui, session: StudySession, settings: SettingsSection, guard: Guard) -> None:
        super().__init__(ui, session, guard)
        self._settings = settings
        self._run, self._shown = InspectorRun(session.logic.engine), session.logic.inspector
        self._layout, self._path = InspectorLayout(self._shown), InspectorPath(self._shown)
        self._table = RowTable(ui.inspectorTable, headers())
        texts = [_("Nothing"), _("Target"), _("Target, checkerboard"), _("Jacobian determinant"), _("Displacement")]
        ui.overlayCombo.addItems(texts)  # of OVERLAYS
        self._chooser = InspectorChooser(ui, self._showState)
        self._following = False  # the sliders move, but not by the user
        self._sample = -1  # which of the drawn samples is shown
        self._wasBusy, self._problem = False, ""
        actions = {
            ui.generateButton: self._generate,
            ui.cancelInspectorButton: self._cancel,
            ui.playPathButton: self._playOrStop,
            ui.randomButton: self._random,
            ui.previousSampleButton: lambda: self._step(-1),
            ui.nextSampleButton: lambda: self._step(1),
            ui.saveSheetButton: self._saveSheet,
        }
        onClick(actions, guard)
        ui.alphaSlider.connect("valueChanged(double)", self._slideAlpha)
        ui.betaSlider.connect("valueChanged(double)", self._slideBeta)
        ui.fadeSlider.connect("valueChanged(double)", lambda value: self._lay())
        ui.overlayCombo.connect("currentIndexChanged(int)", lambda index: self._lay())
        ui.sideBySideCheck.connect("toggled(bool)", lambda checked: self._arrange())
        for check in (ui.gridCheck, ui.glyphCheck):
            check.connect("toggled(bool)", lambda checked: self._showField())
        ui.inspectorSection.connect("contentsCollapsed(bool)", lambda collapsed: self.update())

    # ---- what goes on

    def update(self) -> None:
        """Shows the study as it is now; nothing while the section is collapsed."""
        if self._ui.inspectorSection.collapsed:
            return
        self._chooser.show(self._session.study)
        self._showState()

    def poll(self) -> None:
        """Takes in what the engine has generated, and where the path is being played.

        Raises:
            InputError: the engine could not generate; its own words.
        """
        try:
            if self._run.poll():
                self._take()
        except InputError as error:
            self._problem = str(error)
            raise
        finally:
            if self._wasBusy != self._run.busy:
                self._showState()
        self._follow()

    def close(self) -> None:
        """Gives up what is being generated."""
        self._path.stop()
        self._run.close()

    @property
    def _blocker(self) -> str | None:
        """Why nothing can be generated, for people; None: it can."""
        if self._chooser.blocker:
            return self._chooser.blocker
        if self._session.report.busy:
            return _("Looking for the engine…")
        return self._session.report.problem or None

    def _showState(self) -> None:
        busy, blocker = self._run.busy, self._blocker
        self._wasBusy = busy
        ui, has = self._ui, self._shown.sample is not None
        ui.generateButton.enabled = blocker is None and not busy
        ui.generateButton.toolTip = blocker or _("Let the engine register the atlas with both scans and show the path.")
        ui.cancelInspectorButton.enabled = busy
        ui.inspectorProgress.visible = busy
        ui.inspectorTable.visible = has
        drawn = has and bool(self._shown.sample.figures.get("samples"))
        for widget in (ui.alphaSlider, ui.betaSlider, ui.playPathButton, ui.randomButton, ui.overlayCombo):
            widget.enabled = has
        ui.fadeSlider.enabled = has and ui.overlayCombo.currentIndex > 0
        ui.previousSampleButton.enabled = ui.nextSampleButton.enabled = drawn
        ui.saveSheetButton.enabled = drawn
        ui.inspectorStateLabel.text = self._stateText(busy, blocker)

    def _stateText(self, busy: bool, blocker: str | None) -> str:
        if busy:
            return _("The engine is generating; this takes a few seconds…")
        if self._problem:
            return self._problem
        if self._shown.sample is not None:
            return summary(self._shown.sample.figures)
        return blocker or _("Ready to generate.")

    # ---- generating

    def _generate(self) -> None:
        request = self._chooser.request(self._settings.oneDevice)
        self._problem = ""
        self._run.start(request)
        self._showState()

    def _cancel(self) -> None:
        self._run.cancel()
        self._showState()

    def _take(self) -> None:
        """Shows what the engine has just generated."""
        self._path.stop()
        self._path.remove()
        self._shown.load(self._run.folder, self._ui.alphaSlider.value, self._ui.betaSlider.value)
        self._sample = -1
        self._arrange()
        found = rows(self._shown.sample.figures)
        self._table.show(found)
        height = self._ui.inspectorTable.horizontalHeader().height
        rowHeight = self._ui.inspectorTable.verticalHeader().defaultSectionSize
        self._ui.inspectorTable.setFixedHeight(height + rowHeight * min(len(found), TABLE_ROWS) + 4)
        self._showState()

    # ---- the path

    def _slideAlpha(self, value: float) -> None:
        if not self._following:
            self._path.stop()
            self._ui.playPathButton.checked = False
            self._mix(lambda: self._shown.setAlpha(value))

    def _slideBeta(self, value: float) -> None:
        if not self._following:
            self._mix(lambda: self._shown.setBeta(value))

    def _mix(self, change) -> None:
        """Changes what is shown, which makes nodes again where they are missing; then the views need them, too."""
        gone = self._shown.find(GENERATED) is None
        change()
        if gone:
            self._arrange()

    def _playOrStop(self) -> None:
        if self._path.playing:
            self._path.stop()
        else:
            self._shown.setAlpha(self._ui.alphaSlider.value)  # makes deleted nodes again
            self._path.play()
        self._ui.playPathButton.checked = self._path.playing

    def _follow(self) -> None:
        """The slider goes along with a path that is played, here or in Slicer's toolbar."""
        if self._shown.sample is None:
            return
        alpha = self._shown.alpha
        if abs(alpha - self._ui.alphaSlider.value) > 10**-self._ui.alphaSlider.decimals:
            self._setSliders(alpha, self._shown.beta)
        self._ui.playPathButton.checked = self._path.playing
        if self._layout.sideBySide != self._ui.sideBySideCheck.checked:
            self._takeLayout(self._layout.sideBySide)

    def _takeLayout(self, side: bool) -> None:
        """The user has chosen another layout in Slicer's menu: other views keep what they show."""
        self._ui.sideBySideCheck.blockSignals(True)
        self._ui.sideBySideCheck.checked = side
        self._ui.sideBySideCheck.blockSignals(False)
        if side:
            self._arrange()
        else:
            self._layout.leave()

    def _random(self) -> None:
        """Shares as the publication draws them."""
        self._go(*np.random.default_rng().beta(PATH_CONCENTRATION, PATH_CONCENTRATION, 2))

    def _step(self, by: int) -> None:
        """Shows the next or previous sample of the sheet."""
        drawn = self._shown.sample.figures["samples"]
        self._sample = (self._sample + by) % len(drawn) if self._sample >= 0 else (0 if by > 0 else len(drawn) - 1)
        self._go(**drawn[self._sample])
        told = _("Sample {number} of {count} of the sheet.")
        self._session.say(told.format(number=self._sample + 1, count=len(drawn)))

    def _go(self, alpha: float, beta: float) -> None:
        self._path.stop()
        self._setSliders(alpha, beta)
        self._mix(lambda: (self._shown.setAlpha(alpha), self._shown.setBeta(beta)))  # exactly, sliders round

    def _setSliders(self, alpha: float, beta: float) -> None:
        """Lets the sliders show what has been set, which is not sliding."""
        self._following = True
        self._ui.alphaSlider.value = alpha
        self._ui.betaSlider.value = beta
        self._following = False

    def _saveSheet(self) -> None:
        title, parent = _("Save the sheet of samples"), self._ui.saveSheetButton
        path = fileToSave(parent, title, "samples.png", _("Images (*.png)"))
        if path is None:
            return
        try:
            shutil.copyfile(self._run.folder / SAMPLES, path)
        except OSError as error:
            text = _("{path}: {reason}; choose another place")
            raise InputError(text.format(path=path, reason=error.strerror or error)) from error
        self._session.say(_("Saved {path}.").format(path=path))

    # ---- views

    def _arrange(self) -> None:
        if self._shown.sample is None:
            return
        self._shown.setBeta(self._ui.betaSlider.value)  # makes deleted nodes again
        if self._ui.sideBySideCheck.checked:
            self._layout.show()
        else:
            self._layout.hide()
        self._lay()
        self._showField()

    def _lay(self) -> None:
        index = self._ui.overlayCombo.currentIndex
        self._layout.lay(OVERLAYS[index], self._ui.fadeSlider.value)
        self._ui.fadeSlider.enabled = self._shown.sample is not None and index > 0

    def _showField(self) -> None:
        """Grid and arrows of the displacement in the slice views."""
        self._shown.showField(self._ui.gridCheck.checked, self._ui.glyphCheck.checked)
