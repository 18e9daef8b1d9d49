"""From nodes of the scene to files of a study."""

from __future__ import annotations

from pathlib import Path

from brbs.label_schema import LabelSchema

from .SegmentationExport import exportSegmentation
from .StudyFolder import StudyFolder
from .VolumeExport import exportVolume, transformNote, volumeFile

# Where a node was exported to, so that adding it again replaces the file, and which node that was: clones have both.
FILE_ATTRIBUTE, NODE_ATTRIBUTE = "BRBS.File", "BRBS.FileOf"


def scanFile(study: StudyFolder, volumeNode) -> tuple[Path, str]:
    """The file that holds a volume, exported into the study unless it lies on disk as it is.

    Returns:
        The file and what the user should know; may be empty.

    Raises:
        InputError: the node cannot be used, or the file not be written.
    """
    path = _scanPath(study, volumeNode)
    if path == volumeFile(volumeNode):
        return path, ""
    exportVolume(volumeNode, path)
    _remember(volumeNode, path)
    return path, transformNote(volumeNode)


def atlasFiles(study: StudyFolder, volumeNode, segmentationNode) -> tuple[Path, Path, LabelSchema, str]:
    """The files of a volume and of its segmentation, and the study's structures grown by those found.

    Raises:
        InputError: a node cannot be used, or a file not be written.
    """
    labels = _labelsPath(study, volumeNode, segmentationNode)
    schema = exportSegmentation(segmentationNode, volumeNode, study.study.schema, labels)
    _remember(segmentationNode, labels)
    image, note = scanFile(study, volumeNode)
    return image, labels, schema, note


def exportedFile(node) -> Path | None:
    """The file that this node, and not one that it was cloned from, was exported to."""
    path = node.GetAttribute(FILE_ATTRIBUTE)
    return Path(path) if path and node.GetAttribute(NODE_ATTRIBUTE) == node.GetID() else None


def _remember(node, path: Path) -> None:
    node.SetAttribute(FILE_ATTRIBUTE, str(path))
    node.SetAttribute(NODE_ATTRIBUTE, node.GetID())


def _scanPath(study: StudyFolder, volumeNode) -> Path:
    """The file of a volume: its own, that of its earlier export, or a new one."""
    return volumeFile(volumeNode) or _earlier(study, volumeNode) or study.scanFile(volumeNode.GetName())


def _labelsPath(study: StudyFolder, volumeNode, segmentationNode) -> Path:
    """The file of a segmentation: that of its earlier export with the same scan, or a new one."""
    study.refresh()
    earlier, image = _earlier(study, segmentationNode), _scanPath(study, volumeNode)
    same = any((atlas.image, atlas.labels) == (image, earlier) for atlas in study.study.atlases)
    return earlier if earlier and same else study.labelsFile(volumeNode.GetName())


def _earlier(study: StudyFolder, node) -> Path | None:
    """Where this study holds an earlier export of the node."""
    path = exportedFile(node)
    return path if path and path.is_file() and study.folder in path.parents else None
