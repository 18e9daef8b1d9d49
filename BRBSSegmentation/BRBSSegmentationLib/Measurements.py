"""Volumes and confidences of a segmentation as a table of the scene."""

from __future__ import annotations

import slicer
import vtk
from slicer.i18n import tr as _

from BRBSTrainingLib.SegmentVolumes import segmentVolumes

from .ResultNode import confidenceOf

TABLE_ROLE = "BRBS.Measurements"


def measurementTable(segmentationNode):
    """The table of a segmentation: structure, volume (mL) as it is now, confidence (0..1) as it was found.

    Returns:
        The vtkMRMLTableNode, the same node each time; without the last column where no confidence is known.
    """
    node = segmentationNode.GetNodeReference(TABLE_ROLE)
    if node is None:
        name = _("{name} measurements").format(name=segmentationNode.GetName())
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
        segmentationNode.SetNodeReferenceID(TABLE_ROLE, node.GetID())
    volumes, confidence = segmentVolumes(segmentationNode), confidenceOf(segmentationNode)
    table = vtk.vtkTable()
    table.AddColumn(_column(vtk.vtkStringArray(), _("Structure"), list(volumes)))
    table.AddColumn(_column(vtk.vtkDoubleArray(), _("Volume (mL)"), list(volumes.values())))
    if confidence:
        values = [float("nan") if confidence.get(name) is None else confidence[name] for name in volumes]
        table.AddColumn(_column(vtk.vtkDoubleArray(), _("Confidence as found"), values))
    node.SetAndObserveTable(table)
    return node


def _column(array, name: str, values: list):
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    return array
