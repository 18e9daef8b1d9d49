"""The panel's lines about the engine: what is missing, what it runs on."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from brbs import __version__

from .DeviceSelector import deviceText
from .Installation import install
from .Section import Guard, Section, onClick
from .StudySession import StudySession
from .TypedPath import TypedPath


class EngineSection(Section):
    """Tells what the engine lacks, installs it, and lets the user choose another Python for it."""

    def __init__(self, ui, session: StudySession, guard: Guard) -> None:
        super().__init__(ui, session, guard)
        ui.pythonPathEdit.currentPath = session.logic.engine.chosenPython
        self._typed = TypedPath(ui.pythonPathEdit, self._choosePython)
        onClick({ui.installButton: self._install, ui.askEngineButton: session.askEngine}, guard)

    def close(self) -> None:
        """Waits no longer for a path that is being typed."""
        self._typed.close()

    def update(self) -> None:
        """Shows what is known of the engine."""
        report = self._session.report
        self._ui.engineFrame.visible = not report.usable
        self._ui.engineLabel.text = report.problem or _("Looking for the engine…")
        self._ui.installButton.visible = report.lacksPackages and not self._session.logic.engine.chosenPython
        self._ui.askEngineButton.enabled = not report.busy
        self._ui.pythonInfoLabel.text = self._information()
        self._ui.pythonInfoLabel.toolTip = self._session.logic.engine.python

    def _information(self) -> str:
        content = self._session.report.content
        if not content:
            return self._session.report.problem
        versions = [f"BRBS {__version__}", f"Python {content['python']}", f"PyTorch {content['torch'] or _('missing')}"]
        return "\n".join([*versions, *map(deviceText, content["devices"])])

    def _choosePython(self, path: str) -> None:
        if path != self._session.logic.engine.chosenPython:
            self._session.logic.engine.chosenPython = path
            self._session.askEngine()

    def _install(self) -> None:
        try:
            with slicer.util.WaitCursor():
                install(self._session.report.content["missing"])
        finally:
            self._session.askEngine()
