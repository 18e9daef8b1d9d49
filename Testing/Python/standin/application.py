"""``slicer.app`` and what the application asks, shows and installs, which is recorded here instead."""

import os
import sys
import tempfile
from dataclasses import dataclass, field
from types import ModuleType

from PyQt5.QtCore import QObject, QProcessEnvironment, QSettings, pyqtSignal
from PyQt5.QtWidgets import QApplication

from standin.scene import slicer


@dataclass
class Recorded:
    """What would have been seen or done.

    Attributes:
        messages: kind ("error", "warning", "info", "ask", "delay") and text of each message box.
        answer: what the user answers when asked: yes or no, or a button of a message box.
        status: messages in the status bar.
        modules: modules switched to.
        widgets: panels of the modules that were opened, by module.
        installed: requirements that were to be installed.
        slotErrors: exceptions in slots, which Slicer would print.
    """

    messages: list = field(default_factory=list)
    answer: object = True
    status: list = field(default_factory=list)
    modules: list = field(default_factory=list)
    widgets: dict = field(default_factory=dict)
    installed: list = field(default_factory=list)
    slotErrors: list = field(default_factory=list)


class Application(QObject):
    """``slicer.app``: the running QApplication with some of what Slicer's has besides."""

    startupCompleted = pyqtSignal()
    applicationName = "Slicer"

    def __init__(self, running: QApplication) -> None:
        super().__init__()
        self._running = running
        self._manager = _ModuleManager()
        self._temporary = tempfile.mkdtemp(prefix="Slicer-")

    temporaryPath = property(lambda self: self._temporary)
    recorded = property(lambda self: self._recorded)

    def __getattr__(self, name: str):
        return getattr(self._running, name)

    def testingEnabled(self) -> bool:
        """Slicer's tests run with it."""
        return True

    def applicationLogic(self):
        """Returns the scene's application logic."""
        return slicer._applicationLogic

    def layoutManager(self):
        """There are no views."""
        return None

    def settings(self) -> QSettings:
        """Returns the settings."""
        return QSettings()

    def moduleManager(self) -> QObject:
        """Returns the object that tells when a module is unloaded."""
        return self._manager

    def startupEnvironment(self) -> QProcessEnvironment:
        """Returns the environment that Slicer was started in."""
        return QProcessEnvironment.systemEnvironment()

    def pauseRender(self) -> None:
        """There are no views."""

    resumeRender = pauseRender


class _ModuleManager(QObject):
    moduleAboutToBeUnloaded = pyqtSignal(str)


def startApplication() -> QApplication:
    """Starts Qt off screen, with settings in a temporary folder.

    Returns:
        The QApplication, which somebody has to hold.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application = QApplication.instance() or QApplication(["Slicer"])
    application.setOrganizationName("NA-MIC")
    application.setApplicationName("Slicer")
    QSettings.setDefaultFormat(QSettings.IniFormat)
    QSettings.setPath(QSettings.IniFormat, QSettings.UserScope, tempfile.mkdtemp(prefix="Slicer-settings-"))
    return application


def record() -> None:
    """Begins a new ``slicer.app.recorded``, which message boxes, module switches and installations write to."""
    recorded = slicer.app._recorded = Recorded()
    util = slicer.util

    def shown(kind, answer=None):
        def show(text, *arguments, **named):
            recorded.messages.append((kind, text))
            return answer() if answer else None

        return show

    util.errorDisplay, util.warningDisplay, util.infoDisplay = shown("error"), shown("warning"), shown("info")
    util.confirmOkCancelDisplay = shown("ask", lambda: recorded.answer)
    util.confirmYesNoDisplay = util.confirmRetryCloseDisplay = util.messageBox = util.confirmOkCancelDisplay
    util.delayDisplay = shown("delay")
    util.showStatusMessage = lambda text, duration=0: recorded.status.append(text)
    util.selectModule = lambda module: recorded.modules.append(getattr(module, "name", module))
    _installPackaging(recorded)

    def slotFailed(kind, error, traceback):
        recorded.slotErrors.append(error)
        sys.__excepthook__(kind, error, traceback)

    sys.excepthook = slotFailed  # without one, PyQt ends the process


def _installPackaging(recorded: Recorded) -> None:
    packaging = ModuleType("slicer.packaging")

    def install(requirements, *arguments, **named):
        several = [requirements] if isinstance(requirements, str) else requirements
        recorded.installed.extend(str(requirement) for requirement in several)
        return several

    packaging.pip_ensure = packaging.pip_install = install
    packaging.load_requirements = _readRequirements
    slicer.packaging = sys.modules["slicer.packaging"] = packaging


def _readRequirements(path) -> list:
    with open(path, encoding="utf-8") as lines:
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
