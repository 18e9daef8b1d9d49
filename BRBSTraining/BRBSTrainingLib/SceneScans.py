"""The scans of the scene, without volumes that the modules have made."""

from __future__ import annotations

import slicer

SAMPLE, INSPECTOR, UNCERTAINTY = "BRBS.Sample", "BRBS.Inspector", "BRBS.Uncertainty"  # attributes of such nodes
SOURCE_ATTRIBUTE = "BRBS.Source"  # of a volume: the study's scan that it was loaded from


def sceneScans() -> list:
    """Scalar volume nodes of the scene: neither label maps, nor samples, parts of the inspector, uncertainties."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not _isOwn(node)]


def _isOwn(node) -> bool:
    return any(node.GetAttribute(name) is not None for name in (SAMPLE, INSPECTOR, UNCERTAINTY))
