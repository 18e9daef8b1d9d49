"""Where the scene shows a volume: its voxels with all transforms applied, on a regular grid."""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

PERPENDICULAR = 1e-3  # largest cosine between two axes of a regular grid
PROBES = 9  # points along an axis that are followed through a transform to find where a volume goes
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def worldTransform(node) -> vtk.vtkGeneralTransform:
    """The transform from a node's own coordinates to those of the scene; identity without a parent transform."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    return transform


def linearToWorld(node) -> np.ndarray | None:
    """The transform from a node's own coordinates to those of the scene, 4 x 4; None where it bends space."""
    linear = vtk.vtkTransform()
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(worldTransform(node), linear):
        return None
    return slicer.util.arrayFromVTKMatrix(linear.GetMatrix())


def ijkToRas(volumeNode) -> np.ndarray:
    """Voxels (column, row, slice) of a volume to its own coordinates, 4 x 4."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def imageToRas(image: sitk.Image) -> np.ndarray:
    """Voxels (column, row, slice) of an image, which lies in LPS, to RAS, 4 x 4."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return RAS_TO_LPS @ matrix


def needsResampling(volumeNode) -> bool:
    """Whether the volume has no regular grid in the scene: a bending or shearing transform, or oblique axes."""
    matrix = _worldMatrix(volumeNode)
    return matrix is None or not _isRegular(matrix)


def worldGrid(volumeNode):
    """The grid on which :func:`worldImage` gives the volume.

    A linear transform moves the volume's own grid. Otherwise the grid has the nearest perpendicular axes and the
    volume's spacing, and is as large as the transformed volume.

    Returns:
        vtkOrientedImageData without voxels, in scene coordinates (RAS).
    """
    extent = volumeNode.GetImageData().GetExtent()
    matrix = _worldMatrix(volumeNode)
    if needsResampling(volumeNode):
        own = ijkToRas(volumeNode) if matrix is None else matrix
        matrix, extent = _regularGrid(own, _probes(volumeNode))
    return _oriented(extent, matrix)


def worldImage(volumeNode):
    """The volume's voxels where the scene shows them; the node and the scene stay as they are.

    Voxels keep their type, and their values unless they need resampling (linear interpolation; outside of the volume:
    its lowest value).

    Returns:
        vtkOrientedImageData in scene coordinates (RAS).
    """
    image, grid = volumeNode.GetImageData(), worldGrid(volumeNode)
    if not needsResampling(volumeNode):
        grid.GetPointData().SetScalars(image.GetPointData().GetScalars())
        return grid
    own = _oriented(image.GetExtent(), ijkToRas(volumeNode))
    own.GetPointData().SetScalars(image.GetPointData().GetScalars())
    return resampled(own, grid, worldTransform(volumeNode), linear=True, background=image.GetScalarRange()[0])


def resampled(image, grid, transform: vtk.vtkAbstractTransform, linear: bool, background: float = 0.0):
    """An image moved by a transform, on another grid.

    Args:
        image: vtkOrientedImageData.
        grid: vtkOrientedImageData of which only the geometry is used.
        transform: from the image's coordinates to the grid's.
        linear: interpolate between voxels; otherwise the nearest one counts.
        background: value outside of the image.

    Returns:
        vtkOrientedImageData on the grid.
    """
    result = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, grid, result, linear, False, transform, background
    )
    return result


def toArray(image) -> np.ndarray:
    """The voxels of a vtkOrientedImageData as (D, H, W), without copying."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def toSimpleITK(array: np.ndarray, grid) -> sitk.Image:
    """An array (D, H, W) of voxels on a vtkOrientedImageData's grid as an image in patient coordinates (LPS)."""
    matrix = RAS_TO_LPS @ _imageToWorld(grid)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((matrix @ [*grid.GetExtent()[::2], 1.0])[:3].tolist())
    return image


# Geometry


def _worldMatrix(volumeNode) -> np.ndarray | None:
    """Voxel to scene coordinates as a 4 x 4 matrix; None where the transform bends space."""
    linear = linearToWorld(volumeNode)
    return None if linear is None else linear @ ijkToRas(volumeNode)


def _imageToWorld(image) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _isRegular(matrix: np.ndarray) -> bool:
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < PERPENDICULAR)


def _probes(volumeNode) -> np.ndarray:
    """Points all over the volume in scene coordinates, (points, 3)."""
    extent = np.reshape(volumeNode.GetImageData().GetExtent(), (3, 2))
    voxels = itertools.product(*(np.linspace(low, high, PROBES) for low, high in extent))
    points = np.array([[*voxel, 1.0] for voxel in voxels]) @ ijkToRas(volumeNode).T
    transform = worldTransform(volumeNode)
    return np.array([transform.TransformPoint(point[:3]) for point in points])


def _regularGrid(matrix: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Matrix and extent of a grid with perpendicular axes as near as possible to the matrix's, around the points."""
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    left, _, right = np.linalg.svd(matrix[:3, :3] / spacing)
    regular = matrix.copy()
    regular[:3, :3] = left @ right * spacing
    voxels = (points - regular[:3, 3]) @ np.linalg.inv(regular[:3, :3]).T
    # rounding must not add a layer of voxels
    low, high = np.floor(voxels.min(0) + 1e-3), np.ceil(voxels.max(0) - 1e-3)
    return regular, [int(bound) for pair in zip(low, high) for bound in pair]


def _oriented(extent, matrix: np.ndarray):
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*extent)
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return image
