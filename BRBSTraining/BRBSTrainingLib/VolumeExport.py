"""A volume of the scene as an image file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.image_files import image_suffix
from brbs.volumes import write_image

from .WorldImage import needsResampling, toArray, toSimpleITK, worldGrid, worldImage


def checkVolume(volumeNode) -> None:
    """Refuses nodes that are no scan with one number a voxel.

    Raises:
        InputError: label maps, vector and tensor volumes, several components a voxel, no voxels.
    """
    if problem := _problem(volumeNode):
        raise InputError(problem.format(name=volumeNode.GetName()))


def _problem(volumeNode) -> str:
    image = volumeNode.GetImageData()
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        return _("{name}: is a label map, not a scan; choose the scan that it belongs to")
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        return _("{name}: holds no voxels; load the scan again")
    if volumeNode.GetClassName() != "vtkMRMLScalarVolumeNode" or image.GetNumberOfScalarComponents() > 1:
        return _("{name}: has several numbers a voxel (colour, vectors or time points); choose a plain scan")
    return ""


def readFile(volumeNode) -> Path | None:
    """The file that a volume was read from or written to last, of a DICOM series its first slice; None: none."""
    storage = volumeNode.GetStorageNode()
    return Path(storage.GetFullNameFromFileName()) if storage is not None and storage.GetFileName() else None


def volumeFile(volumeNode) -> Path | None:
    """The one file on disk that holds just what the scene shows of the volume; None where there is none.

    Volumes changed since they were read, moved by a transform, read from a DICOM series or placed other than their
    file says have none, nor has what is no scan (:func:`checkVolume`).
    """
    path = readFile(volumeNode)
    if _problem(volumeNode) or path is None or volumeNode.GetStorageNode().GetNumberOfFileNames() > 1:
        return None
    moved = volumeNode.GetParentTransformNode() is not None
    if moved or volumeNode.GetModifiedSinceRead() or not image_suffix(path) or not path.is_file():
        return None
    return path if _holds(path, volumeNode) else None


def exportVolume(volumeNode, path: str | Path) -> None:
    """Writes a volume where the scene shows it: with its transforms applied, in LPS, with its own voxel type.

    The file holds voxels and geometry and nothing else, and is not compressed, which would take many times as long.

    Args:
        volumeNode: the scan; it stays as it is, as does the scene.
        path: where to, .nrrd.

    Raises:
        InputError: the node is no scan (:func:`checkVolume`), or the file cannot be written.
    """
    checkVolume(volumeNode)
    world = worldImage(volumeNode)
    image = toSimpleITK(toArray(world), world)
    write_image(image, path, compress=False)


def transformNote(volumeNode) -> str:
    """What an export changes, as a sentence for people; empty when the volume is written as it is."""
    name, transform = volumeNode.GetName(), volumeNode.GetParentTransformNode()
    resampled = needsResampling(volumeNode)
    if transform is None:
        told = _("{name} is resampled, as its axes are not perpendicular.") if resampled else ""
    elif resampled:
        told = _("{name} is resampled through its transform {transform}.")
    else:
        told = _("{name} is moved by its transform {transform}.")
    return told.format(name=name, transform=transform.GetName() if transform else "")


def _holds(path: Path, volumeNode) -> bool:
    """Whether a file's header describes the volume: a single volume with the same grid."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return False
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1 or needsResampling(volumeNode):
        return False
    grid = worldGrid(volumeNode)
    here = toSimpleITK(np.zeros((1, 1, 1), np.uint8), grid)
    tolerance = 1e-3 * min(here.GetSpacing())
    pairs = (
        (reader.GetSize(), grid.GetDimensions()),
        (reader.GetSpacing(), here.GetSpacing()),
        (reader.GetOrigin(), here.GetOrigin()),
        (reader.GetDirection(), here.GetDirection()),
    )
    return all(np.allclose(there, own, rtol=0, atol=tolerance) for there, own in pairs)
