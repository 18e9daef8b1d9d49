"""From an unlabeled scan to an atlas by way of Slicer's Segment Editor."""

from __future__ import annotations

from pathlib import Path

import slicer

from brbs.errors import InputError
from brbs.label_schema import LabelSchema
from brbs.volumes import is_dicom_folder

from .SegmentationTemplate import newSegmentation

SCAN_ATTRIBUTE, STUDY_ATTRIBUTE = "BRBS.AnnotatedScan", "BRBS.AnnotatedFor"
EDITOR_TAG = "SegmentEditor"  # the editor node that Slicer's own Segment Editor module looks for


def beginAnnotation(scan: Path, study: Path, schema: LabelSchema):
    """Opens a scan in the Segment Editor with the study's structures ready to be drawn.

    A scan or an annotation of it that is in the scene already is taken up again.

    Returns:
        The segmentation node.

    Raises:
        InputError: the scan cannot be loaded.
    """
    volumeNode = scanNode(scan)
    segmentationNode = _begun(scan, study) or newSegmentation(volumeNode, schema)
    segmentationNode.SetAttribute(SCAN_ATTRIBUTE, str(scan))
    segmentationNode.SetAttribute(STUDY_ATTRIBUTE, str(study))
    editInSegmentEditor(segmentationNode, volumeNode)
    return segmentationNode


def scanNode(scan: Path):
    """The volume node of a scan: the one that was read from its file, or a new one.

    Raises:
        InputError: it cannot be loaded.
    """
    return _loadedVolume(scan) or _load(scan)


def editInSegmentEditor(segmentationNode, volumeNode) -> None:
    """Opens Slicer's Segment Editor on a segmentation and its scan."""
    editor = _editorNode()
    editor.SetAndObserveSegmentationNode(segmentationNode)
    editor.SetAndObserveSourceVolumeNode(volumeNode)
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    slicer.util.selectModule("SegmentEditor")


def annotations(study: Path) -> list[tuple[Path, object, object]]:
    """Annotations begun for a study: the scan's file, its volume node and the segmentation node."""
    begun = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        scan = Path(node.GetAttribute(SCAN_ATTRIBUTE) or "")
        volumeNode = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        if node.GetAttribute(STUDY_ATTRIBUTE) == str(study) and volumeNode is not None:
            begun.append((scan, volumeNode, node))
    return begun


def endAnnotation(segmentationNode) -> None:
    """The segmentation is an ordinary one from now on."""
    segmentationNode.RemoveAttribute(SCAN_ATTRIBUTE)
    segmentationNode.RemoveAttribute(STUDY_ATTRIBUTE)


def isDrawn(segmentationNode) -> bool:
    """Whether any segment holds voxels."""
    segmentation = segmentationNode.GetSegmentation()
    found = (segmentationNode.GetBinaryLabelmapInternalRepresentation(name) for name in segmentation.GetSegmentIDs())
    return any(labelmap is not None and not labelmap.IsEmpty() for labelmap in found)


def _begun(scan: Path, study: Path):
    return next((node for path, _, node in annotations(study) if path == scan), None)


def _loadedVolume(scan: Path):
    """The volume node that was read from the file, if there is one."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        storage = node.GetStorageNode()
        if storage is not None and storage.GetFileName() and Path(storage.GetFileName()) == scan:
            return node
    return None


def _load(scan: Path):
    if not scan.exists():
        raise InputError(f"{scan}: no such file; put it back, or remove the scan from the study")
    try:
        # Any slice of a DICOM series brings the others along.
        first = next(path for path in sorted(scan.iterdir()) if path.is_file()) if is_dicom_folder(scan) else scan
        return slicer.util.loadVolume(str(first))
    except RuntimeError as error:
        raise InputError(f"{scan}: Slicer cannot load it ({error})") from error


def _editorNode():
    node = slicer.mrmlScene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        node.UnRegister(None)
        node.SetSingletonTag(EDITOR_TAG)
        node = slicer.mrmlScene.AddNode(node)
    return node
