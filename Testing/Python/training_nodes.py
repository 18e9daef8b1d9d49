"""The tiny study's subjects as nodes of the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import tiny_study


def addSubject(seed: int) -> tuple:
    """A scan's volume node and its segmentation node, named and coloured as the tiny study's structures."""
    image, labels = tiny_study.subject(seed)
    volumeNode = slicer.util.addVolumeFromArray(image, ijkToRAS=_ijkToRAS(), name=f"Scan {seed}")
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"Scan {seed} segmentation")
    segmentationNode.CreateDefaultDisplayNodes()
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    for label in tiny_study.SCHEMA.labels:
        segment = segmentationNode.GetSegmentation().AddEmptySegment("", label.name, label.colour)
        mask = (labels == label.value).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentationNode, segment, volumeNode)
    return volumeNode, segmentationNode


def loadSubject(path: Path, seed: int):
    """A scan's volume node as it is after reading it from a file, which is written first."""
    sitk.WriteImage(tiny_study.on_grid(tiny_study.subject(seed)[0]), str(path))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name.partition(".")[0])
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    assert node.GetStorageNode().ReadData(node)
    return node


def _ijkToRAS() -> np.ndarray:
    """The tiny study's geometry (LPS) for Slicer (RAS)."""
    matrix = np.diag([*tiny_study.SPACING, 1.0])
    matrix[:3, 3] = tiny_study.ORIGIN
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
