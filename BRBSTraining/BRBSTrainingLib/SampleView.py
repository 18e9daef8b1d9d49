"""The sample that a training has just generated, in the slice views."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from brbs.errors import InputError

from .SceneScans import SAMPLE

NAME = "BRBS sample"


def showSample(trainingFolder: str | Path, event: Mapping[str, Any]) -> None:
    """Loads a generated scan with its label map into one pair of nodes and shows them in the slice views.

    The nodes are used again for the next sample, so that the user's window, level and zoom stay. They are not saved
    with the scene, as the training replaces their files.

    Args:
        trainingFolder: the ``training`` folder of the model.
        event: a "sample" event of the job; names the files.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    image, labels = (Path(trainingFolder) / event[name] for name in ("image", "labels"))
    isNew = _found("vtkMRMLScalarVolumeNode") is None
    volumeNode = _loaded("vtkMRMLScalarVolumeNode", NAME, image)
    segmentationNode = _loaded("vtkMRMLSegmentationNode", _("{name} labels").format(name=NAME), labels)
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    # fitting the views to their content needs the application's views
    fit = isNew and getattr(slicer, "app", None) is not None
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=fit)


def _found(className: str):
    nodes = slicer.util.getNodesByClass(className)
    return next((node for node in nodes if node.GetAttribute(SAMPLE)), None)


def _loaded(className: str, name: str, path: Path):
    """The node with the content of a file."""
    if not path.is_file():
        raise InputError(_("{path}: no such file; ask the training for another sample").format(path=path))
    node = _found(className) or _newNode(className, name)
    node.GetStorageNode().SetFileName(str(path))
    if not node.GetStorageNode().ReadData(node):
        raise InputError(_("{path}: Slicer cannot read it; ask the training for another sample").format(path=path))
    return node


def _newNode(className: str, name: str):
    node = slicer.mrmlScene.AddNewNodeByClass(className, name)
    node.SetAttribute(SAMPLE, "1")
    node.AddDefaultStorageNode()
    node.CreateDefaultDisplayNodes()
    for own in (node, node.GetStorageNode(), node.GetDisplayNode()):
        own.SetSaveWithScene(False)
    return node
