"""Small nodes with known content, and a look at what an action has done to the scene."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SHAPE = (6, 8, 10)  # slices, rows, columns
SPACING = (0.7, 0.9, 2.5)


def obliqueMatrix() -> np.ndarray:
    """Voxels to scene (RAS): rotated about all axes, anisotropic, off-centre; left-handed as CT often is."""
    turn = vtk.vtkTransform()
    turn.RotateX(11)
    turn.RotateY(-23)
    turn.RotateZ(31)
    matrix = slicer.util.arrayFromVTKMatrix(turn.GetMatrix())
    matrix[:3, :3] = matrix[:3, :3] @ np.diag([-SPACING[0], -SPACING[1], SPACING[2]])
    matrix[:3, 3] = (-31.5, 12.25, 193.75)
    matrix[:3, 0] *= -1
    return matrix


def addVolume(name="Schädel", array=None, matrix=None):
    """Adds a scan, by default of random int16 voxels on an oblique grid."""
    if array is None:
        array = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)
    node = slicer.util.addVolumeFromArray(array, name=name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(obliqueMatrix() if matrix is None else matrix))
    return node


def addLinearTransform(name="Ausrichtung", scale=1.0, shear=0.0, shift=(5.0, -7.0, 11.0)):
    """Adds a rotation about an oblique axis with a shift; optionally scaled or sheared."""
    transform = vtk.vtkTransform()
    transform.Translate(*shift)
    transform.RotateWXYZ(40, 1, 2, 3)
    transform.Scale(scale, scale, scale)
    transform.Concatenate((1, shear, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(transform.GetMatrix())
    return node


def addGridTransform(displacement, name="Verformung", size=12, extent=400.0):
    """Adds a grid transform of size^3 nodes around the origin; ``displacement`` maps points (N, 3) to mm (N, 3)."""
    spacing = extent / (size - 1)
    image = vtk.vtkImageData()
    image.SetDimensions(size, size, size)
    image.SetSpacing(spacing, spacing, spacing)
    image.SetOrigin(*(-extent / 2 for _ in range(3)))
    image.AllocateScalars(vtk.VTK_DOUBLE, 3)
    points = np.array([image.GetPoint(index) for index in range(image.GetNumberOfPoints())])
    image.GetPointData().SetScalars(numpy_to_vtk(displacement(points), deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    grid.SetInterpolationModeToLinear()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    node.SetAndObserveTransformFromParent(grid)
    return node


def ijkToRas(volumeNode) -> vtk.vtkMatrix4x4:
    """Voxels to the volume's own coordinates."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrix


def worldOfVoxel(volumeNode, voxel) -> np.ndarray:
    """Where the scene shows a voxel (column, row, slice), in RAS."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volumeNode.GetParentTransformNode(), None, transform)
    return np.array(transform.TransformPoint(ijkToRas(volumeNode).MultiplyPoint((*voxel, 1.0))[:3]))


def sceneState() -> list:
    """IDs, names, transforms and change counts of all nodes: equal when nothing has been done to any of them."""
    nodes = [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    # the change count last, as asking for a transform may raise it
    return [(node.GetID(), node.GetName(), _state(node), node.GetMTime()) for node in nodes]


def _state(node):
    if node.IsA("vtkMRMLVolumeNode"):
        return node.GetTransformNodeID(), node.GetModifiedSinceRead(), node.GetImageData().GetMTime()
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        names = [name for name in ("Binary labelmap", "Closed surface") if segmentation.ContainsRepresentation(name)]
        return node.GetTransformNodeID(), node.GetModifiedSinceRead(), segmentation.GetMTime(), names
    return None
