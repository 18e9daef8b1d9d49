"""A label map on disk as segments of the scene."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from brbs.errors import InputError
from brbs.label_schema import Label
from brbs.volumes import read_label_map, read_label_schema
from BRBSTrainingLib.SegmentationTemplate import addEmptySegment, addSegmentationNode
from BRBSTrainingLib.WorldImage import RAS_TO_LPS, needsResampling, worldTransform

CONFIDENCE_ATTRIBUTE = "BRBS.Confidence"
SCAN_ROLE = "BRBS.Scan"  # under which a result refers to its scan
STUDY_ATTRIBUTE = "BRBS.Study"
SOURCE_ATTRIBUTE = "BRBS.Source"  # of a volume: the study's scan that it was loaded from


def showResult(labelsFile: Path, volumeNode, segmentationNode=None, labels: Sequence[Label] = ()):
    """Puts the structures of a label map into the scene, where the scan lies that they were found in.

    The segmentation follows the scan's transform, where that does not bend the scan's grid.

    Args:
        labelsFile: label map on the grid on which the volume was exported.
        volumeNode: the scan.
        segmentationNode: its segments are replaced; None: a new node.
        labels: the structures, for a file other than .seg.nrrd, which tells names, colours and terminology itself.

    Returns:
        The vtkMRMLSegmentationNode.

    Raises:
        InputError: the file cannot be read, or the segmentation takes no label map.
    """
    image = read_label_map(labelsFile, allow_empty=True)
    labels = [Label(*meta) for meta in read_label_schema(labelsFile) or ()] or labels
    node = segmentationNode or addSegmentationNode(volumeNode)
    bent = needsResampling(volumeNode)
    node.SetAndObserveTransformNodeID(None if bent else volumeNode.GetTransformNodeID())
    node.RemoveAttribute(CONFIDENCE_ATTRIBUTE)  # that of the segments which are replaced
    with slicer.util.NodeModify(node):
        node.GetSegmentation().RemoveAllSegments()
        node.SetSourceRepresentationToBinaryLabelmap()  # segments of a closed surface would take no label map
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        values = sitk.GetArrayViewFromImage(image)
        matrix = _imageToNode(image, node)
        for label in labels:
            _addSegment(node, label, values == label.value, matrix)
    return node


def noteConfidence(node, confidence: Mapping[str, float | None] | None) -> None:
    """Keeps a segmentation's confidences, by structure, with the node."""
    node.SetAttribute(CONFIDENCE_ATTRIBUTE, json.dumps(confidence))


def confidenceOf(node) -> dict[str, float | None]:
    """Confidence by structure, as found: editing the segments does not change it.

    Returns:
        0..1, or None for a structure of which nothing was found and nothing expected; empty where none is known.
    """
    return json.loads(node.GetAttribute(CONFIDENCE_ATTRIBUTE) or "null") or {}


def _imageToNode(image: sitk.Image, node) -> np.ndarray:
    """Voxels of an image (LPS) to the coordinates of a node under its transform, 4 x 4."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    linear = vtk.vtkTransform()
    slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(worldTransform(node), linear)
    return np.linalg.inv(slicer.util.arrayFromVTKMatrix(linear.GetMatrix())) @ RAS_TO_LPS @ matrix


def _addSegment(node, label: Label, mask: np.ndarray, matrix: np.ndarray) -> None:
    """Adds a structure, also one of which nothing was found."""
    segmentId = addEmptySegment(node, label)
    box = _boundingBox(mask)
    if box is None:
        return
    voxels = np.ascontiguousarray(mask[box].astype(np.uint8))
    oriented = slicer.vtkOrientedImageData()
    oriented.SetExtent(*(bound for span in box[::-1] for bound in (span.start, span.stop - 1)))
    oriented.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
    oriented.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(oriented, node, segmentId, logic.MODE_REPLACE, oriented.GetExtent()):
        problem = _("{node}: Slicer cannot put {structure} into it; choose another output segmentation")
        raise InputError(problem.format(node=node.GetName(), structure=label.name))


def _boundingBox(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Where a structure lies along each axis; None: nowhere.

    Found by projections: a list of all its voxels would take 24 bytes for each of them.
    """
    projections = (mask.any(axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))
    found = [np.flatnonzero(projection) for projection in projections]
    return tuple(slice(int(places[0]), int(places[-1]) + 1) for places in found) if len(found[0]) else None
