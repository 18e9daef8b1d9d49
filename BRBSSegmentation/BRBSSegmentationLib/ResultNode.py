"""A label map on disk as segments of the scene."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from brbs.boxes import Box, class_boxes
from brbs.errors import InputError
from brbs.image_files import bare_name
from brbs.label_schema import Label
from brbs.volumes import read_label_map, read_label_schema
from BRBSTrainingLib.KnownModels import studyOf
from BRBSTrainingLib.SegmentationTemplate import addEmptySegment, addSegmentationNode
from BRBSTrainingLib.WorldImage import ijkToRas, imageToRas, linearToWorld, needsResampling

CONFIDENCE_ATTRIBUTE = "BRBS.Confidence"
SCAN_ROLE = "BRBS.Scan"  # under which a result refers to its scan
STUDY_ATTRIBUTE = "BRBS.Study"
SAME_GRID = 1e-2  # voxels by which the corners of one grid may differ


@dataclass(frozen=True)
class Placement:
    """How a volume lies in the scene.

    Attributes:
        matrix: from its own coordinates (RAS) to those of the scene, 4 x 4; None where it has no regular grid there, so
            that it is resampled when it is exported.
    """

    matrix: np.ndarray | None


UNMOVED = Placement(np.eye(4))


def placement(volumeNode) -> Placement:
    """How a volume lies in the scene now."""
    return Placement(None if needsResampling(volumeNode) else linearToWorld(volumeNode))


def showResult(
    labelsFile: Path,
    volumeNode,
    segmentationNode=None,
    labels: Sequence[Label] = (),
    exported: Placement | None = None,
):
    """Puts the structures of a label map into the scene, where the scan lies that they were found in.

    The segmentation follows the scan's transform, also if the scan has been moved since it was exported; one of a scan
    that had to be resampled stays where that scan lay, and so does one whose scan is not in the scene.

    Args:
        labelsFile: label map on the grid on which the volume was exported.
        volumeNode: the scan; None: it is not in the scene.
        segmentationNode: its segments are replaced; None: a new node.
        labels: the structures, for a file other than .seg.nrrd, which tells names, colours and terminology itself.
        exported: how the scan lay when it was exported; None: not known, and told by the grid of the label map.

    Returns:
        The vtkMRMLSegmentationNode.

    Raises:
        InputError: the file cannot be read, or the segmentation takes no label map.
    """
    image = read_label_map(labelsFile, allow_empty=True)
    labels = [Label(*meta) for meta in read_label_schema(labelsFile) or ()] or labels
    node = segmentationNode or addSegmentationNode(volumeNode.GetName() if volumeNode else bare_name(labelsFile))
    exported = (exported or _likelyPlacement(image, volumeNode)) if volumeNode else Placement(None)
    node.SetAndObserveTransformNodeID(None if exported.matrix is None else volumeNode.GetTransformNodeID())
    node.RemoveAttribute(CONFIDENCE_ATTRIBUTE)  # that of the segments which are replaced
    with slicer.util.NodeModify(node):
        node.GetSegmentation().RemoveAllSegments()
        node.SetSourceRepresentationToBinaryLabelmap()  # segments of a closed surface would take no label map
        if volumeNode is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        values, boxes = sitk.GetArrayViewFromImage(image), class_boxes(image)
        matrix = imageToRas(image) if exported.matrix is None else np.linalg.inv(exported.matrix) @ imageToRas(image)
        for label in labels:
            _addSegment(node, label, values, boxes.get(label.value), matrix)
    return node


def noteOrigin(node, volumeNode, model: Path | None) -> None:
    """Keeps with a segmentation in which scan it was found, and the study of the model that has found it.

    Args:
        node: the segmentation.
        volumeNode: the scan; None: it is not in the scene.
        model: folder of the model; None: not known. One from elsewhere has no study.
    """
    node.SetNodeReferenceID(SCAN_ROLE, volumeNode.GetID() if volumeNode else None)
    study = studyOf(model) if model is not None else None
    if study is None:
        node.RemoveAttribute(STUDY_ATTRIBUTE)  # that of the segments which were replaced
    else:
        node.SetAttribute(STUDY_ATTRIBUTE, str(study.absolute()))


def isResult(node) -> bool:
    """Whether a segmentation was found by a model in a scan; it stays so in a scene that is saved and loaded."""
    return node.GetNodeReferenceID(SCAN_ROLE) is not None


def noteConfidence(node, confidence: Mapping[str, float | None] | None) -> None:
    """Keeps a segmentation's confidences, by structure, with the node."""
    node.SetAttribute(CONFIDENCE_ATTRIBUTE, json.dumps(confidence))


def confidenceOf(node) -> dict[str, float | None]:
    """Confidence by structure, as found: editing the segments does not change it.

    Returns:
        0..1, or None for a structure of which nothing was found and nothing expected; empty where none is known.
    """
    return json.loads(node.GetAttribute(CONFIDENCE_ATTRIBUTE) or "null") or {}


def _likelyPlacement(image: sitk.Image, volumeNode) -> Placement:
    """How a volume lay when it was exported: unmoved where its label map has its own grid, else most likely as now."""
    if image.GetSize() != volumeNode.GetImageData().GetDimensions():
        return placement(volumeNode)
    ends = np.diag([*image.GetSize(), 1.0])  # along each axis
    apart = (imageToRas(image) - ijkToRas(volumeNode)) @ ends
    return UNMOVED if np.abs(apart).max() < SAME_GRID * min(image.GetSpacing()) else placement(volumeNode)


def _addSegment(node, label: Label, values: np.ndarray, box: Box | None, matrix: np.ndarray) -> None:
    """Adds a structure from the box (x, y, z) of its voxels; None: nothing of it was found."""
    segmentId = addEmptySegment(node, label)
    if box is None:
        return
    spans = [(start, start + count) for start, count in zip(*box)]
    voxels = (values[tuple(slice(*span) for span in reversed(spans))] == label.value).astype(np.uint8)
    oriented = slicer.vtkOrientedImageData()
    oriented.SetExtent(*(bound for first, stop in spans for bound in (first, stop - 1)))
    oriented.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
    oriented.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(oriented, node, segmentId, logic.MODE_REPLACE, oriented.GetExtent()):
        problem = _("{node}: Slicer cannot put {structure} into it; choose another output segmentation")
        raise InputError(problem.format(node=node.GetName(), structure=label.name))
