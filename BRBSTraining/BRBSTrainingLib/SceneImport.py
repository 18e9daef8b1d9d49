"""From nodes of the scene to files of a study."""

from __future__ import annotations

from pathlib import Path

from brbs.label_schema import LabelSchema

from .SegmentationExport import exportSegmentation
from .StudyFolder import StudyFolder
from .VolumeExport import exportVolume, transformNote, volumeFile

FILE_ATTRIBUTE = "BRBS.File"  # where a node was exported to, so that adding it again replaces the file


def scanFile(study: StudyFolder, volumeNode) -> tuple[Path, str]:
    """The file that holds a volume, exported into the study unless it lies on disk as it is.

    Returns:
        The file and what the user should know; may be empty.

    Raises:
        InputError: the node cannot be used, or the file not be written.
    """
    onDisk = volumeFile(volumeNode)
    if onDisk is not None:
        return onDisk, ""
    path = _exported(study, volumeNode) or study.scanFile(volumeNode.GetName())
    exportVolume(volumeNode, path)
    volumeNode.SetAttribute(FILE_ATTRIBUTE, str(path))
    return path, transformNote(volumeNode)


def atlasFiles(study: StudyFolder, volumeNode, segmentationNode) -> tuple[Path, Path, LabelSchema, str]:
    """The files of a volume and of its segmentation, and the study's structures grown by those found.

    Raises:
        InputError: a node cannot be used, or a file not be written.
    """
    labels = _exported(study, segmentationNode) or study.labelsFile(volumeNode.GetName())
    schema = exportSegmentation(segmentationNode, volumeNode, study.study.schema, labels)
    segmentationNode.SetAttribute(FILE_ATTRIBUTE, str(labels))
    image, note = scanFile(study, volumeNode)
    return image, labels, schema, note


def _exported(study: StudyFolder, node) -> Path | None:
    """Where this study holds an earlier export of the node."""
    path = Path(node.GetAttribute(FILE_ATTRIBUTE) or "")
    return path if path.is_file() and study.folder in path.parents else None
