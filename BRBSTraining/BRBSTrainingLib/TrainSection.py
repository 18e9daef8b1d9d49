"""The panel's part in which training is started and watched."""

from __future__ import annotations

import time

import qt
import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.model_description import MODEL_FILE
from brbs.settings import PRESETS

from .BackgroundJob import ENDED_STATES
from .LogView import LogView
from .Section import Guard, Section, onClick
from .SettingsSection import SettingsSection, durationText
from .StudySession import StudySession
from .TrainingJob import TrainingJob

PATIENCE_SECONDS = 60.0  # that a training is given to end by itself before it may be killed


class TrainSection(Section):
    """Start, pause, stop; progress, curves, sample, log.

    Args:
        settings: what is chosen to train with; the others are those of every section.
    """

    def __init__(self, ui, session: StudySession, settings: SettingsSection, guard: Guard) -> None:
        super().__init__(ui, session, guard)
        self._settings = settings
        self._stopAsked: tuple[TrainingJob, float] | None = None  # which training, and when
        self._log = LogView(ui.logText)
        actions = {
            ui.startButton: self._start,
            ui.pauseButton: self._pauseOrResume,
            ui.stopButton: self._stop,
            ui.lossesButton: session.plots.showLosses,
            ui.diceButton: session.plots.showDice,
            ui.sampleButton: session.requestSample,
            ui.openModelButton: self._useModel,
            ui.copyLogButton: lambda: qt.QApplication.clipboard().setText(ui.logText.plainText),
        }
        onClick(actions, guard)
        ui.logGroup.connect("toggled(bool)", lambda shown: self._showLog())

    def update(self) -> None:
        """Shows the training as it is now."""
        job, state = self._session.job, self._state()
        self._updateStart()
        active = bool(state) and state not in ENDED_STATES
        if not active or self._stopAsked is not None and self._stopAsked[0] is not job:
            self._stopAsked = None
        self._ui.pauseButton.enabled = state in ("running", "paused")
        self._ui.pauseButton.checked = state == "paused"
        self._ui.pauseButton.text = _("Resume") if state == "paused" else _("Pause")
        self._updateStop(active)
        self._ui.sampleButton.enabled = state == "running"
        self._ui.lossesButton.enabled = self._ui.diceButton.enabled = job is not None
        self._ui.openModelButton.enabled = job is not None and (job.model / MODEL_FILE).is_file()
        self._ui.progressBar.setValue(round(1000 * job.progress) if job else 0)
        self._ui.stateLabel.text = self._stateText(state)
        self._ui.timeLabel.text = self._timeText() if active else ""
        self._ui.timeLabel.visible = bool(self._ui.timeLabel.text)
        self._showLog()

    def _state(self) -> str:
        return self._session.job.state if self._session.job else ""

    def _updateStart(self) -> None:
        blocker = self._session.blocker
        self._ui.startButton.enabled = blocker is None
        self._ui.startButton.toolTip = blocker or _("Start training in the background.")
        resumable = self._session.job is not None and self._session.job.resumable
        self._ui.startButton.text = _("Start…") if resumable else _("Start")

    def _updateStop(self, active: bool) -> None:
        waited = self._stopAsked is not None and time.monotonic() - self._stopAsked[1] > PATIENCE_SECONDS
        self._ui.stopButton.enabled = active and (self._stopAsked is None or waited)
        self._ui.stopButton.text = _("End at once") if waited else _("Stop and keep")

    def _stateText(self, state: str) -> str:
        if not state:
            return self._session.blocker or _("Ready to start.")
        sentence = {
            "queued": _("Training {name} is starting."),
            "running": _("Training {name} runs: {message}."),
            "paused": _("Training {name} is paused."),
            "stopping": _("Training {name} is ending after its current step."),
            "finished": _("Training {name} has {message}."),
            "failed": _("Training {name} has failed: {message}"),
        }[state]
        return sentence.format(name=self._session.job.model.name, message=self._session.job.message)

    def _timeText(self) -> str:
        elapsed = self._session.job.elapsedSeconds
        remaining = self._settings.remainingSeconds(self._session.job)
        texts = [_("Trained for {time}").format(time=durationText(elapsed))] if elapsed else []
        if remaining is not None:
            texts.append(_("about {time} remaining").format(time=durationText(remaining)))
        return ", ".join(texts)

    def _start(self) -> None:
        resumable = self._session.job is not None and self._session.job.resumable
        answer = self._askToGoOn() if resumable else qt.QMessageBox.No
        if answer == qt.QMessageBox.Yes:
            self._session.goOn(self._settings.device)
        elif answer == qt.QMessageBox.No:
            limit, steps = self._settings.minutes, PRESETS[self._settings.preset].steps
            self._session.start(limit, steps, self._settings.device)

    def _askToGoOn(self) -> int:
        """The button pressed: Yes, No, or Cancel, which closing the box is, too."""
        question = _(
            "The last training ended before it was complete. Go on with it, with the atlases and scans that it began "
            "with? No starts a new one beside it, with all that the study holds now."
        )
        buttons = qt.QMessageBox.Yes | qt.QMessageBox.No | qt.QMessageBox.Cancel
        icon, title = qt.QMessageBox.Question, _("BRBS Training")
        return slicer.util.messageBox(question, windowTitle=title, icon=icon, standardButtons=buttons)

    def _pauseOrResume(self) -> None:
        if self._state() == "paused":
            self._session.job.resume()
        else:
            self._session.job.pause()

    def _stop(self) -> None:
        if self._stopAsked is None:
            self._session.logic.stopTraining(self._session.job)
            self._stopAsked = self._session.job, time.monotonic()
        else:
            try:
                self._session.job.kill()
            except OSError as error:
                raise InputError(_("The training could not be ended: {reason}").format(reason=error)) from error
        self.update()

    def _useModel(self) -> None:
        slicer.util.getModuleWidget("BRBSSegmentation").useModel(self._session.job.model)
        slicer.util.selectModule("BRBSSegmentation")

    def _showLog(self) -> None:
        if self._ui.logGroup.collapsed:
            return
        self._log.show(self._session.job.log() if self._session.job else "")
