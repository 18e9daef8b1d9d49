"""The scene of the application and its module logics: `slicer.mrmlScene`, `slicer.modules`."""

import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from standin.core import importSlicer

slicer = importSlicer()

#: Classes of the logics as the application has them, by module.
LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
}
#: Its scene is what makes this logic read the application's terminology files, which slicer-core lacks.
_WITHOUT_SCENE = {"Terminologies"}


class Module:
    """One of `slicer.modules`: a name and a logic."""

    def __init__(self, name: str, logic):
        self.name = name
        self._logic = logic

    def logic(self):
        """Returns the module's logic."""
        return self._logic


class SequencesModule(Module):
    """Sequences: its toolbar plays one browser."""

    def setToolBarActiveBrowserNode(self, browser) -> None:
        """Remembers the browser."""
        self.toolBarBrowser = browser


def installScene():
    """Makes a fresh `slicer.mrmlScene`, as the application has it at its start, with `slicer.modules` working on it.

    There are the default colours, the layout node and the three slice views' nodes, but no views.

    Returns:
        The vtkMRMLScene.
    """
    scene = slicer.vtkMRMLScene()
    applicationLogic = slicer.vtkSlicerApplicationLogic()
    applicationLogic.SetMRMLScene(scene)
    modules = ModuleType("slicer.modules")
    for name, className in LOGICS.items():
        logic = getattr(slicer, className)()
        logic.SetMRMLApplicationLogic(applicationLogic)
        if name not in _WITHOUT_SCENE:
            with _quiet():  # no complaints about the application's colour files, which slicer-core lacks
                logic.SetMRMLScene(scene)
        applicationLogic.SetModuleLogic(name, logic)
        module = SequencesModule if name == "Sequences" else Module
        setattr(modules, name.lower(), module(name, logic))
    applicationLogic.SetColorLogic(modules.colors.logic())
    _addViewNodes(scene)
    slicer.mrmlScene = scene
    slicer.modules = modules
    slicer._applicationLogic = applicationLogic
    sys.modules["slicer.modules"] = modules
    _installFiles()
    return scene


@contextmanager
def _quiet():
    slicer.vtkMRMLScene.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        slicer.vtkMRMLScene.GlobalWarningDisplayOn()


def _addViewNodes(scene):
    layoutLogic = slicer.vtkMRMLLayoutLogic()
    layoutLogic.SetMRMLScene(scene)
    slicer._layoutLogic = layoutLogic
    for name in ("Red", "Green", "Yellow"):
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetSingletonTag(name)
        composite.SetLayoutName(name)
        scene.AddNode(composite)


def _installFiles():
    """Reading and writing go through the application's IO manager there, through logics and storage nodes here."""
    slicer.util.loadVolume = lambda path, properties={}: _loaded(  # noqa: B006  (the signature is Slicer's)
        path, slicer.modules.volumes.logic().AddArchetypeVolume(str(path), properties.get("name", Path(path).stem))
    )
    slicer.util.loadSegmentation = lambda path, properties={}: _loaded(  # noqa: B006
        path, slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), True, properties.get("name"))
    )
    slicer.util.saveNode = _saveNode


def _loaded(path, node):
    if not node:
        raise RuntimeError(f"Failed to load node from file: {path}")
    return node


def _saveNode(node, path, properties={}) -> bool:  # noqa: B006
    node.AddDefaultStorageNode(str(path))
    return bool(node.GetStorageNode().WriteData(node))
