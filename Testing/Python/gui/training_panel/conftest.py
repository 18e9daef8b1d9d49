"""The training panel, ready for a user, and a study for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from children import environment
from tiny_study import SETTINGS, write_study

import brbs.settings
from brbs.settings import Preset


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The tiny study as files, in folders images, labels and unlabeled."""
    return write_study(tmp_path / "Dateien für alle")


@pytest.fixture(scope="session")
def report() -> dict:
    """What the engine's Python says of itself; asked once, as it takes seconds."""
    command = [sys.executable, "-m", "brbs.device_report"]
    return json.loads(subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE).stdout)


@pytest.fixture
def widget(application, monkeypatch, report):
    """The module's widget, set up, with a preset that is done in a moment."""
    from standin.scripted_module import openModule

    import BRBSTraining
    from BRBSTrainingLib.EngineReport import EngineReport

    ask = EngineReport.ask

    def askOrRemember(asked, timed: bool = True) -> None:
        if asked._engine.chosenPython:
            ask(asked, timed)
        else:
            asked.content = dict(report)

    monkeypatch.setattr(EngineReport, "ask", askOrRemember)
    short = Preset(SETTINGS, 6, "a few steps")
    monkeypatch.setitem(brbs.settings.PRESETS, "fast", short)
    monkeypatch.setitem(brbs.settings.PRESETS, "balanced", short)
    made = openModule(BRBSTraining.BRBSTrainingWidget)
    yield made
    for job in made.logic._jobs.values():
        job.kill()
    made.cleanup()


@pytest.fixture
def ui(widget):
    return widget.ui


@pytest.fixture
def long(monkeypatch):
    """The preset goes on until it is stopped."""
    monkeypatch.setitem(brbs.settings.PRESETS, "balanced", Preset(SETTINGS, 1_000_000, "long"))
