"""``slicer.ScriptedLoadableModule``: the base classes of scripted modules."""

import sys
import unittest
from importlib import import_module
from pathlib import Path
from types import ModuleType

import qt

from standin.scene import slicer


class ScriptedLoadableModule:
    """What the application shows of a module."""

    def __init__(self, parent) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, filename: str) -> str:
        """Returns the path of a file of the module's folder ``Resources``."""
        return _resource(self, filename)


class ScriptedLoadableModuleWidget:
    """A module's panel. Without a parent, a top-level one is made, set up and shown."""

    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent or _topLevel()
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()

    def resourcePath(self, filename: str) -> str:
        """Returns the path of a file of the module's folder ``Resources``."""
        return _resource(self, filename)

    def setup(self) -> None:
        """Builds the panel; Slicer puts developers' buttons there."""

    def cleanup(self) -> None:
        """Called before the panel goes."""


class ScriptedLoadableModuleLogic:
    """What a module does."""

    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """Returns the module's parameter node of the scene; makes one where there is none."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            return slicer.mrmlScene.AddNode(self.createParameterNode())
        node.SetAttribute("ModuleName", self.moduleName)  # closing the scene takes it away
        return node

    def createParameterNode(self):
        """Returns a new parameter node that is not yet in the scene."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A module's self-test."""

    messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay=None, msec=None) -> None:
        """Slicer shows the message for a while."""

    def runTest(self) -> None:
        """To be overridden."""


def openModule(widgetClass):
    """Returns a module's widget, set up and shown as the application does it when the module is opened."""
    widget = _made(widgetClass)
    widget.parent.show()
    widget.parent._entered = True
    if hasattr(widget, "enter"):
        widget.enter()
    return widget


def leaveModule(widget) -> None:
    """The user turns to another module."""
    widget.parent._entered = False


def _moduleWidget(name: str):
    """Returns a module's widget, which is made where the module was never opened."""
    known = slicer.app.recorded.widgets
    return known.get(name) or _made(getattr(import_module(name), f"{name}Widget"))


def _made(widgetClass):
    widget = widgetClass(_topLevel())
    slicer.app.recorded.widgets[widget.moduleName] = widget
    widget.setup()
    return widget


def install() -> None:
    """Makes it ``slicer.ScriptedLoadableModule``, whose names are also in `slicer`'s module of that name."""
    module = ModuleType("slicer.ScriptedLoadableModule")
    for part in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(module, part.__name__, part)
    slicer.ScriptedLoadableModule = sys.modules[module.__name__] = module
    slicer.util.getModuleWidget = _moduleWidget


def _resource(part, filename: str) -> str:
    return str(Path(sys.modules[type(part).__module__].__file__).resolve().parent / "Resources" / filename)


class _ModuleWidget(slicer.qMRMLWidget):
    """What holds a module's panel; knows whether the module is shown."""

    _entered = False
    isEntered = qt.Property(bool, lambda self: self._entered)


def _topLevel():
    parent = _ModuleWidget()
    parent.setLayout(qt.QVBoxLayout())
    parent.setMRMLScene(slicer.mrmlScene)
    return parent
