"""The panel's settings: quality, device, time limit, and all others under Advanced."""

from __future__ import annotations

import math

from slicer.i18n import tr as _

from brbs.expected_time import (
    FEWEST_STEPS,
    expected_seconds,
    time_share,
    voxels_in,
    with_structures,
    working_voxels,
)
from brbs.grid_choice import SMALLEST_BUDGET
from brbs.settings import DEFAULT_PRESET, PRESETS, Settings, is_published, with_preset

from .AdvancedForm import AdvancedForm
from .AllDevices import ALL_GPUS, oneDevice
from .DeviceSelector import AUTO, DeviceSelector
from .Section import Guard, Section
from .StudySession import StudySession
from .TrainingJob import TrainingJob

EARLIEST = 0.005  # progress from which the pace tells something


class SettingsSection(Section):
    """Lets the user choose how to train and tells how long it will take.

    Preset and time limit are connected to the parameter node by the form.
    """

    def __init__(self, ui, session: StudySession, guard: Guard) -> None:
        super().__init__(ui, session, guard)
        self._parameters = None
        self._devices = DeviceSelector(ui.deviceSelector, self.updateExpected, together=True)
        self._form = AdvancedForm(ui.advancedGroup.layout(), session, guard)
        # Connecting a parameter node fills the list anew: only the user's own choice may change the study.
        ui.presetSelector.connect("activated(int)", lambda index: self._presetChosen())
        ui.presetSelector.connect("currentIndexChanged(int)", lambda index: self.updateExpected())
        ui.minutesSpinBox.connect("valueChanged(int)", lambda value: self.updateExpected())

    def setParameters(self, parameters) -> None:
        """Follows another parameter node; None: none."""
        self._parameters = parameters
        self._devices.setParameters(parameters)
        if parameters is not None:
            self._showPreset()

    @property
    def preset(self) -> str:
        """Name of the chosen preset."""
        return self._parameters.preset

    @property
    def device(self) -> str:
        """Name of the chosen device; "auto" where the scene names one that this computer lacks."""
        return self._devices.device

    @property
    def oneDevice(self) -> str:
        """The same for work that several devices cannot share."""
        return oneDevice(self.device)

    @property
    def minutes(self) -> int | None:
        """Time limit; None: none."""
        return self._parameters.minutes or None

    def update(self) -> None:
        """Shows study and engine as they are now."""
        self._showPreset()
        self._devices.show(self._session.report.content.get("devices", []))
        self._form.update()
        self.updateExpected()

    def updateExpected(self) -> None:
        """Tells how long the training will take with what is chosen."""
        self._ui.expectedLabel.text = self._expected() if self._parameters else ""
        self._ui.presetSelector.toolTip = PRESETS[self.preset].about if self._parameters else ""

    def _expected(self) -> str:
        seconds = self.expectedSeconds()
        if seconds is None:
            return _("Expected time: known when there are atlases and the engine is ready.")
        if self.minutes and self.minutes * 60 < seconds:
            limited = _("Expected time: {limit} (the time limit; all of it would take about {time}).")
            text = limited.format(limit=durationText(self.minutes * 60), time=durationText(seconds))
            return f"{text} {self._coarser()}".strip()
        return _("Expected time: about {time}.").format(time=durationText(seconds))

    def expectedSeconds(self) -> float | None:
        """How long all steps of the preset take on the chosen device; None: not known."""
        atlases = [item for item in self._session.items if item.labels is not None and item.usable]
        if not atlases or (device := self._chosenDevice()) is None:
            return None
        settings = self._session.study.study.settings
        return expected_seconds(device, self._voxels(device), PRESETS[self.preset].steps, settings)

    def _voxels(self, device: dict) -> int:
        """Of the working grid that a training without a time limit will choose."""
        settings = self._session.study.study.settings
        return working_voxels(self._session.items, settings, device["name"] == "cpu")

    def _coarser(self) -> str:
        """What the time limit does to the working grid; empty: nothing."""
        settings, device = self._session.study.study.settings, self._chosenDevice()
        in_time = voxels_in(device, self.minutes, settings)
        factor = (self._voxels(device) / max(SMALLEST_BUDGET, in_time)) ** (1 / 3)
        if settings.spacing is not None or factor < 1.05:
            return ""
        about = _("So that {count} steps fit, its voxels will be about {factor} times as long.")
        if settings.region != "whole":  # the labels are not read here
            about = _("So that {count} steps fit, its voxels will be up to {factor} times as long.")
        if in_time < SMALLEST_BUDGET:
            about = _("Its voxels will be up to {factor} times as long, and still fewer than {count} steps fit.")
        return about.format(count=FEWEST_STEPS, factor=f"{factor:.1f}")

    def remainingSeconds(self, job: TrainingJob) -> float | None:
        """How long a running training still takes, from its pace so far; None: too early to tell."""
        budget, elapsed, progress = job.description, job.elapsedSeconds, job.progress
        if elapsed <= 0 or progress < EARLIEST:
            return None
        minutes = budget.get("minutes")
        limit = 60 * minutes - elapsed if minutes else math.inf
        return max(0.0, min(limit, self._remainingByPace(job, elapsed, progress) if budget.get("steps") else limit))

    def _remainingByPace(self, job: TrainingJob, elapsed: float, progress: float) -> float:
        timed = self._timedDevice(str(job.description.get("device", AUTO)))
        settings = Settings.from_json(job.description["settings"])
        steps = job.description["steps"]
        share = time_share(timed, self._voxels(timed), steps, settings, progress) if timed else progress
        return elapsed * (1 - share) / share

    def _chosenDevice(self) -> dict | None:
        """The device that is chosen, with its speed for the study's structures; None: not known."""
        device, labels = self._timedDevice(self.device), self._session.study.study.schema.labels
        return device and with_structures(device, len(labels))

    def _timedDevice(self, name: str) -> dict | None:
        timed = [device for device in self._session.report.content.get("devices", []) if not device.get("error")]
        # All GPUs together take as long for a step as the first of them alone.
        fitting = [device for device in timed if name in (AUTO, ALL_GPUS, device["name"])]
        return fitting[0] if fitting else None

    def _presetChosen(self) -> None:
        study = self._session.study
        if study is not None and (settings := with_preset(study.study.settings, self.preset)) != study.study.settings:
            self._guard(lambda: self._session.changeStudy(lambda opened: opened.setSettings(settings)))

    def _showPreset(self) -> None:
        """A study with the publication's settings is shown as such, whatever the scene says."""
        if self._parameters is None or self._session.study is None:
            return
        published = is_published(self._session.study.study.settings)
        if published != (self.preset == "paper"):
            self._parameters.preset = "paper" if published else DEFAULT_PRESET


def durationText(seconds: float) -> str:
    """A duration in the unit that people would use."""
    minutes = seconds / 60
    if minutes < 1:
        return _("{count} s").format(count=round(seconds))
    if minutes < 100:
        return _("{count} min").format(count=round(minutes))
    if minutes < 48 * 60:
        return _("{count} h").format(count=round(minutes / 60))
    return _("{count} days").format(count=round(minutes / 60 / 24))
