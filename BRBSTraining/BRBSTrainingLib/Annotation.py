"""From an unlabeled scan to an atlas by way of Slicer's Segment Editor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from brbs.dicom_slices import series_files
from brbs.errors import InputError
from brbs.image_files import is_dicom_folder
from brbs.label_schema import LabelSchema

from .SegmentationTemplate import newSegmentation
from .SegmentVolumes import segmentVolumes
from .VolumeExport import readFile

SCAN_ATTRIBUTE, STUDY_ATTRIBUTE = "BRBS.AnnotatedScan", "BRBS.AnnotatedFor"
EDITOR_TAG = "SegmentEditor"  # the editor node that Slicer's own Segment Editor module looks for


@dataclass(frozen=True)
class Annotation:
    """An annotation that was begun and is no atlas yet; the scene keeps it, also when it is saved and loaded.

    Attributes:
        scan: the scan's file.
        segmentationId: of the node that it is drawn in.
        drawn: names of the structures of which anything is drawn.
    """

    scan: Path
    segmentationId: str
    drawn: tuple[str, ...]

    @property
    def segmentationNode(self):
        """What it is drawn in; None: it was deleted."""
        return slicer.mrmlScene.GetNodeByID(self.segmentationId)

    def missing(self, schema: LabelSchema) -> list[str]:
        """Names of the structures of which nothing is drawn."""
        drawn = {name.strip().casefold() for name in self.drawn}
        return [label.name for label in schema.labels if label.name.casefold() not in drawn]

    def text(self, schema: LabelSchema) -> str:
        """How far it is, as a sentence."""
        missing = self.missing(schema)
        if not self.drawn:
            text = _("{scan} is being annotated; nothing is drawn yet.")
        elif missing:
            text = _("{scan} is being annotated; still empty: {names}.")
        else:
            text = _("{scan} is being annotated; every structure has something drawn.")
        return text.format(scan=self.scan.name, names=", ".join(missing))


def beginAnnotation(scan: Path, study: Path, schema: LabelSchema):
    """Opens a scan in the Segment Editor with the study's structures ready to be drawn.

    A scan or an annotation of it that is in the scene already is taken up again.

    Returns:
        The segmentation node.

    Raises:
        InputError: the scan cannot be loaded.
    """
    begun = annotations(study).get(scan)
    if begun is None:
        volumeNode = scanNode(scan)
        segmentationNode = newSegmentation(volumeNode, schema)
        segmentationNode.SetAttribute(SCAN_ATTRIBUTE, str(scan))
        segmentationNode.SetAttribute(STUDY_ATTRIBUTE, str(study))
    else:
        segmentationNode, volumeNode = begun.segmentationNode, annotatedVolume(begun)
    editInSegmentEditor(segmentationNode, volumeNode)
    return segmentationNode


def annotatedVolume(annotation: Annotation):
    """The volume node that an annotation is drawn on; loaded again where it was deleted.

    Raises:
        InputError: it cannot be loaded.
    """
    node = annotation.segmentationNode
    volumeNode = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    if volumeNode is None:
        volumeNode = scanNode(annotation.scan)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    return volumeNode


def scanNode(scan: Path):
    """The volume node of a scan: the one that was read from its file or its DICOM folder, or a new one.

    Raises:
        InputError: it cannot be loaded.
    """
    files = scanFiles(scan)
    return _loadedVolume(files) or _load(scan, files[0])


def scanFiles(scan: Path) -> list[Path]:
    """The file of a scan, or those that the engine takes from a DICOM folder: the series with most slices.

    Raises:
        InputError: the folder holds no series.
    """
    if not is_dicom_folder(scan):
        return [scan]
    series = series_files(scan)
    if not series:
        problem = _("{folder}: holds no DICOM series; put its slices back, or remove the scan from the study")
        raise InputError(problem.format(folder=scan))
    return list(map(Path, series[0]))


def editInSegmentEditor(segmentationNode, volumeNode) -> None:
    """Opens Slicer's Segment Editor on a segmentation and its scan; None: that is not in the scene."""
    editor = _editorNode()
    editor.SetAndObserveSegmentationNode(segmentationNode)
    editor.SetAndObserveSourceVolumeNode(volumeNode)
    if volumeNode is not None:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    slicer.util.selectModule("SegmentEditor")


def annotations(study: Path) -> dict[Path, Annotation]:
    """Annotations in the scene that were begun for a study, by scan."""
    begun: dict[Path, Annotation] = {}
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        scan = Path(node.GetAttribute(SCAN_ATTRIBUTE) or "")
        if node.GetAttribute(STUDY_ATTRIBUTE) == str(study) and scan not in begun:  # copies of a node come later
            drawn = tuple(name for name, volume in segmentVolumes(node).items() if volume > 0)
            begun[scan] = Annotation(scan, node.GetID(), drawn)
    return begun


def endAnnotation(segmentationNode) -> None:
    """The segmentation is an ordinary one from now on."""
    segmentationNode.RemoveAttribute(SCAN_ATTRIBUTE)
    segmentationNode.RemoveAttribute(STUDY_ATTRIBUTE)


def _loadedVolume(files: Collection[Path]):
    """The volume node that was read from one of the files, if there is one."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return next((node for node in nodes if readFile(node) in files), None)


def _load(scan: Path, file: Path):
    if not scan.exists():
        problem = _("{scan}: no such file; put it back, or remove the scan from the study")
        raise InputError(problem.format(scan=scan))
    try:
        return slicer.util.loadVolume(str(file))  # a slice of a DICOM series brings the others along
    except RuntimeError as error:
        raise InputError(_("{scan}: Slicer cannot load it ({error})").format(scan=scan, error=error)) from error


def _editorNode():
    node = slicer.mrmlScene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        node.UnRegister(None)
        node.SetSingletonTag(EDITOR_TAG)
        node = slicer.mrmlScene.AddNode(node)
    return node
