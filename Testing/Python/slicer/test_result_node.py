"""Results come into the scene where their scan lies, with names, colours and terminology."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from scene_nodes import SPACING, addGridTransform, addLinearTransform, addVolume, obliqueMatrix

from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.volumes import write_label_map
from BRBSSegmentationLib import ResultNode
from BRBSSegmentationLib.Measurements import measurementTable
from BRBSSegmentationLib.ResultNode import confidenceOf, noteConfidence, placement, showResult
from BRBSTrainingLib.SegmentVolumes import segmentVolumes
from BRBSTrainingLib.VolumeExport import exportVolume
from BRBSTrainingLib.WorldImage import worldTransform

TERM = "Category~SCT^1^Anatomy~SCT^2^Liver~^^~Region~^^~^^"
LIVER, VESSEL = Label(3, "Leber", (0.9, 0.4, 0.3), TERM), Label(70, "Gefäß", (0.3, 0.7, 0.9))
SCHEMA = LabelSchema((LIVER, VESSEL, Label(71, "Nichts", (1.0, 1.0, 0.0))))


def resultOf(volumeNode, folder: Path) -> tuple[Path, np.ndarray]:
    """A label map on the grid on which the volume is exported, as the engine would write it: bright voxels are 3."""
    exportVolume(volumeNode, folder / "scan.nrrd")
    image = sitk.ReadImage(str(folder / "scan.nrrd"))
    voxels = sitk.GetArrayFromImage(image)
    values = np.where(voxels > 1000, 3, np.where(voxels < -800, 70, 0)).astype(np.uint8)
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(image)
    write_label_map(labels, folder / "Ergebnis.seg.nrrd", SCHEMA.meta)
    return folder / "Ergebnis.seg.nrrd", values


def worldCentre(node, segmentId: str) -> np.ndarray:
    """Centre of mass of a segment where the scene shows it, RAS."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segmentId, image)
    extent, dimensions = image.GetExtent(), image.GetDimensions()
    scalars = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(dimensions[::-1])
    indices = np.argwhere(scalars != 0)[:, ::-1] + np.array(extent[::2])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    points = np.c_[indices, np.ones(len(indices))] @ slicer.util.arrayFromVTKMatrix(matrix).T
    transform = worldTransform(node)
    return np.mean([transform.TransformPoint(point[:3]) for point in points], axis=0)


def volumeCentre(volumeNode, mask: np.ndarray) -> np.ndarray:
    """Centre of mass of voxels of a volume where the scene shows it, RAS."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    indices = np.argwhere(mask)[:, ::-1]
    points = np.c_[indices, np.ones(len(indices))] @ slicer.util.arrayFromVTKMatrix(matrix).T
    transform = worldTransform(volumeNode)
    return np.mean([transform.TransformPoint(point[:3]) for point in points], axis=0)


@pytest.mark.parametrize("matrix", [obliqueMatrix(), np.diag([1.0, 1.0, 2.0, 1.0]), np.diag([-1.0, 2.0, 1.0, 1.0])])
@pytest.mark.parametrize("transformed", [False, True])
def test_result_overlays_the_scan(scene, tmp_path: Path, matrix, transformed: bool) -> None:
    volumeNode = addVolume(matrix=matrix)
    if transformed:
        volumeNode.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    path, values = resultOf(volumeNode, tmp_path)
    node = showResult(path, volumeNode)
    assert node.GetTransformNodeID() == volumeNode.GetTransformNodeID()
    segmentation = node.GetSegmentation()
    for index, value in enumerate((3, 70)):
        segmentId = segmentation.GetNthSegmentID(index)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volumeNode)
        np.testing.assert_array_equal(voxels != 0, values == value)
        np.testing.assert_allclose(worldCentre(node, segmentId), volumeCentre(volumeNode, values == value), atol=1e-4)


def test_result_under_a_bending_transform_lies_in_the_world(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    volumeNode.SetAndObserveTransformNodeID(addGridTransform(lambda points: 0.02 * points[:, ::-1]).GetID())
    path, values = resultOf(volumeNode, tmp_path)
    node = showResult(path, volumeNode)
    assert node.GetTransformNodeID() is None
    image = sitk.ReadImage(str(tmp_path / "scan.nrrd"))
    indices = np.argwhere(values == 3)[:, ::-1].astype(float)
    centre = np.mean([image.TransformContinuousIndexToPhysicalPoint(index.tolist()) for index in indices], axis=0)
    found = worldCentre(node, node.GetSegmentation().GetNthSegmentID(0))
    np.testing.assert_allclose(found * [-1, -1, 1], centre, atol=1e-4)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("bends", [False, True])
def test_result_moves_with_a_scan_that_was_moved_since(scene, tmp_path: Path, before: bool, bends: bool) -> None:
    volumeNode = addVolume()
    if before:
        volumeNode.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    exported = placement(volumeNode) if before else None  # the label map of an unmoved scan has the scan's own grid
    path, values = resultOf(volumeNode, tmp_path)
    moved = addGridTransform(lambda points: 0.02 * points[:, ::-1]) if bends else addLinearTransform(shift=(50, 0, 0))
    volumeNode.SetAndObserveTransformNodeID(moved.GetID())
    node = showResult(path, volumeNode, exported=exported)
    for index, value in enumerate((3, 70)):
        centre = worldCentre(node, node.GetSegmentation().GetNthSegmentID(index))
        np.testing.assert_allclose(centre, volumeCentre(volumeNode, values == value), atol=1e-4)


def test_result_of_a_bent_scan_stays_when_the_scan_is_moved(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    volumeNode.SetAndObserveTransformNodeID(addGridTransform(lambda points: 0.02 * points[:, ::-1]).GetID())
    exported, (path, _values) = placement(volumeNode), resultOf(volumeNode, tmp_path)
    there = showResult(path, volumeNode)
    volumeNode.SetAndObserveTransformNodeID(None)
    node = showResult(path, volumeNode, exported=exported)
    now, then = (worldCentre(made, made.GetSegmentation().GetNthSegmentID(0)) for made in (node, there))
    np.testing.assert_allclose(now, then, atol=1e-4)


def test_structures_keep_name_colour_and_terminology(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    segmentation = showResult(resultOf(volumeNode, tmp_path)[0], volumeNode).GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    assert [segment.GetName() for segment in segments] == ["Leber", "Gefäß", "Nichts"]
    colours = [label.colour for label in SCHEMA.labels]
    np.testing.assert_allclose([segment.GetColor() for segment in segments], colours, atol=1e-3)
    text = vtk.reference("")
    segments[0].GetTag(segments[0].GetTerminologyEntryTagName(), text)
    assert text.get() == TERM


def test_chosen_node_takes_the_result(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    path, _ = resultOf(volumeNode, tmp_path)
    node = showResult(path, volumeNode)
    node.SetName("Meins")
    assert showResult(path, volumeNode, node) is node
    assert node.GetSegmentation().GetNumberOfSegments() == 3
    assert node.GetName() == "Meins"


def test_segmentation_of_closed_surfaces_takes_the_result(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    path, values = resultOf(volumeNode, tmp_path)
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Flächen")
    output.SetSourceRepresentationToClosedSurface()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    output.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Kugel", [1.0, 0.0, 0.0])
    segmentation = showResult(path, volumeNode, output).GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(output, segmentation.GetNthSegmentID(0), volumeNode)
    np.testing.assert_array_equal(voxels != 0, values == 3)


def test_segmentation_that_takes_no_label_map_is_told(scene, tmp_path: Path, monkeypatch) -> None:
    volumeNode = addVolume()
    path, _ = resultOf(volumeNode, tmp_path)
    refusing = SimpleNamespace(MODE_REPLACE=0, SetBinaryLabelmapToSegment=lambda *_: False)
    monkeypatch.setattr(slicer, "vtkSlicerSegmentationsModuleLogic", refusing)
    with pytest.raises(InputError, match="Leber.*another output segmentation"):
        showResult(path, volumeNode)


@pytest.mark.parametrize("place", [np.s_[0, 0, 0], np.s_[-1, -1, -1], np.s_[2:4, -1, 3:6]])
def test_structure_at_the_border_is_whole(scene, tmp_path: Path, place) -> None:
    array = np.zeros((6, 8, 10), np.int16)
    array[place] = 1500
    volumeNode = addVolume(array=array)
    path, values = resultOf(volumeNode, tmp_path)
    node = showResult(path, volumeNode)
    found, *absent = (
        slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, volumeNode) != 0
        for segmentId in node.GetSegmentation().GetSegmentIDs()
    )
    np.testing.assert_array_equal(found, array > 1000)
    assert not np.any(absent)


def test_large_structure_takes_little_memory(scene, tmp_path: Path) -> None:
    volumeNode = addVolume(array=np.full((60, 60, 60), 1500, np.int16))
    path, values = resultOf(volumeNode, tmp_path)
    tracemalloc.start()
    showResult(path, volumeNode)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * values.size


def test_small_structure_is_not_sought_in_a_copy_of_the_volume(scene, monkeypatch) -> None:
    array = np.zeros((100, 100, 100), np.uint8)
    array[40:50, 40:50, 40:50] = 3
    volumeNode, labels = addVolume(array=array), sitk.GetImageFromArray(array)
    monkeypatch.setattr(ResultNode, "read_label_map", lambda path, allow_empty: labels)
    tracemalloc.start()
    node = showResult(Path("Ergebnis.nii.gz"), volumeNode, labels=[LIVER])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert segmentVolumes(node)["Leber"] == pytest.approx(1.0)  # mL
    assert peak < array.size / 4


def test_volumes_and_confidence_become_a_table(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    path, values = resultOf(volumeNode, tmp_path)
    node = showResult(path, volumeNode)
    voxel = np.prod(SPACING) / 1000
    found = [voxel * np.count_nonzero(values == value) for value in (3, 70, 71)]
    assert columns(measurementTable(node), (0, 1)) == [["Leber", "Gefäß", "Nichts"], pytest.approx(found)]
    assert measurementTable(node).GetTable().GetNumberOfColumns() == 2
    noteConfidence(node, {"Leber": 0.75, "Gefäß": 0.5, "Nichts": 0.25})
    assert columns(measurementTable(node), (1, 2)) == [pytest.approx(found), [0.75, 0.5, 0.25]]
    assert measurementTable(node) is measurementTable(node)


def test_corrected_segments_are_measured_anew(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    volumeNode.SetAndObserveTransformNodeID(addLinearTransform(scale=2.0).GetID())
    path, values = resultOf(volumeNode, tmp_path)
    node = showResult(path, volumeNode)
    segmentation = node.GetSegmentation()
    drawn = (values == 0).astype(np.uint8)
    segmentId = segmentation.GetNthSegmentID(2)
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, segmentId, volumeNode)
    segmentation.GetNthSegment(1).SetName("Leber")  # a second segment of one structure
    voxel = 2**3 * np.prod(SPACING) / 1000  # where the scene shows it, as the engine measures it
    expected = [voxel * np.count_nonzero(values), voxel * drawn.sum()]
    assert columns(measurementTable(node), (0, 1)) == [["Leber", "Nichts"], pytest.approx(expected)]


def test_confidence_of_replaced_segments_is_forgotten(scene, tmp_path: Path) -> None:
    volumeNode = addVolume()
    path, _ = resultOf(volumeNode, tmp_path)
    node = showResult(path, volumeNode)
    noteConfidence(node, {"Leber": 0.75})
    assert confidenceOf(node) == {"Leber": 0.75}
    assert confidenceOf(showResult(path, volumeNode, node)) == {}


def columns(tableNode, indices) -> list[list]:
    table = tableNode.GetTable()
    return [[table.GetColumn(index).GetValue(row) for row in range(table.GetNumberOfRows())] for index in indices]
