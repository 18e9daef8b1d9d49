"""Segmentations of the scene as label maps on the grid of their scan."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from scene_nodes import SHAPE, addGridTransform, addLinearTransform, addVolume, sceneState

from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.volumes import check_pair, read_image, read_label_map, read_label_schema
from BRBSTrainingLib.SegmentationExport import exportSegmentation
from BRBSTrainingLib.VolumeExport import exportVolume

LIVER = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)
EMPTY = LabelSchema(())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Müller Studie" / "atlases" / "Fall 1.seg.nrrd"


def addSegmentation(volume, segments, name="Köpfe"):
    """Adds a segmentation on a volume's grid: (name, array, colour, terminology) a segment."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segmentName, array, colour, terminology in segments:
        segmentId = node.GetSegmentation().AddEmptySegment("", segmentName, colour)
        segment = node.GetSegmentation().GetSegment(segmentId)
        if terminology:
            segment.SetTag(segment.GetTerminologyEntryTagName(), terminology)
        if array is not None:
            slicer.util.updateSegmentBinaryLabelmapFromArray(array.astype(np.uint8), node, segmentId, volume)
    return node


def boxes():
    """Two boxes that share no voxel."""
    one, other = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[1:3, 2:5, 3:6], other[3:5, 4:8, 0:7] = True, True
    return one, other


def exported(node, volume, path, schema=EMPTY):
    grown = exportSegmentation(node, volume, schema, path)
    return grown, sitk.GetArrayFromImage(read_label_map(path))


def assertPair(volume, path):
    """The files of a volume and its segmentation lie on one grid."""
    scan = path.with_name("scan.nrrd")
    exportVolume(volume, scan)
    check_pair(read_image(scan), read_label_map(path))


def test_voxels_names_colours_and_terminology_come_through(scene, path):
    volume, (liver, gland) = addVolume(), boxes()
    node = addSegmentation(
        volume, [("Leber", liver, (0.5, 0.25, 0.125), LIVER), ("Drüse übrig", gland, (1.0, 0.0, 0.5), "")]
    )
    before = sceneState()

    schema, found = exported(node, volume, path)

    assert np.array_equal(found, 1 * liver + 2 * gland)
    assert [(label.value, label.name, label.colour) for label in schema.labels] == [
        (1, "Leber", (0.5, 0.25, 0.125)),
        (2, "Drüse übrig", (1.0, 0.0, 0.5)),
    ]
    assert schema.labels[0].terminology == LIVER
    assert read_label_schema(path) == schema.meta
    assertPair(volume, path)
    assert sceneState() == before


def test_what_is_written_is_loaded_by_slicer_as_the_same_segments(scene, path):
    volume, (liver, gland) = addVolume(), boxes()
    node = addSegmentation(volume, [("Leber", liver, (0.5, 0.25, 0.125), LIVER), ("Drüse", gland, (1, 0, 0), "")])
    exportSegmentation(node, volume, EMPTY, path)

    loaded = slicer.util.loadSegmentation(path)

    for name, array in (("Leber", liver), ("Drüse", gland)):
        segmentId = loaded.GetSegmentation().GetSegmentIdBySegmentName(name)
        assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(loaded, segmentId, volume), array)
    text = vtk.reference("")
    segment = loaded.GetSegmentation().GetSegment(loaded.GetSegmentation().GetSegmentIdBySegmentName("Leber"))
    assert segment.GetTag(segment.GetTerminologyEntryTagName(), text) and text.get() == LIVER


def test_values_are_those_of_the_study_and_new_names_get_the_next(scene, path):
    volume, (liver, gland) = addVolume(), boxes()
    node = addSegmentation(volume, [("Milz", gland, (0, 1, 0), ""), ("LEBER", liver, (1, 0, 0), "")])
    study = LabelSchema((Label(7, "Leber", (0.1, 0.2, 0.3), LIVER), Label(300, "Niere", (0, 0, 1))))

    schema, found = exported(node, volume, path, study)

    assert np.array_equal(found, 7 * liver + 301 * gland)
    assert schema.labels[:2] == study.labels
    assert schema.labels[2] == Label(301, "Milz", (0.0, 1.0, 0.0), schema.labels[2].terminology)


def test_a_segment_in_which_nothing_is_drawn_adds_no_structure(scene, path):
    volume, (liver, _) = addVolume(), boxes()
    node = addSegmentation(volume, [("Milz", None, (0, 1, 0), ""), ("Leber", liver, (1, 0, 0), "")])
    schema, found = exported(node, volume, path)
    assert [label.name for label in schema.labels] == ["Leber"]
    assert np.array_equal(found, 1 * liver)


def test_overlapping_segments_later_wins_and_hidden_ones_count(scene, path):
    volume, (liver, _) = addVolume(), boxes()
    lesion = np.zeros(SHAPE, bool)
    lesion[2:4, 3:6, 4:8] = True
    node = addSegmentation(volume, [("Leber", liver, (1, 0, 0), ""), ("Herd", lesion, (0, 1, 0), "")])
    node.GetDisplayNode().SetAllSegmentsVisibility(False)
    node.GetDisplayNode().SetVisibility(False)
    before = sceneState()

    schema, found = exported(node, volume, path)

    assert node.GetSegmentation().GetNumberOfLayers() == 2
    assert np.array_equal(found, np.where(lesion, 2, 1 * liver))
    assert sceneState() == before


def test_segments_of_one_name_are_one_structure(scene, path):
    volume, (left, right) = addVolume(), boxes()
    node = addSegmentation(volume, [("Niere", left, (1, 0, 0), ""), ("niere", right, (0, 1, 0), "")])
    schema, found = exported(node, volume, path)
    assert len(schema.labels) == 1
    assert np.array_equal(found, 1 * (left | right))


def linear():
    return addLinearTransform()


def sheared():
    return addLinearTransform(shear=0.2)


def bent():
    return addGridTransform(
        lambda points: np.stack([4 + 0 * points[:, 0], -3 + 0.03 * points[:, 0], 2 + 0.02 * points[:, 1]], axis=1)
    )


@pytest.mark.parametrize("transform", [linear, sheared, bent])
def test_moved_together_with_the_volume_it_stays_on_the_same_voxels(scene, path, transform):
    """The scan's own voxels are the markers: bright where the segment is."""
    liver, _ = boxes()
    liver[1:5, 1:7, 1:9] = True
    volume = addVolume(array=np.where(liver, 1000, 0).astype(np.int16))
    node = addSegmentation(volume, [("Leber", liver, (1, 0, 0), "")])
    transformId = transform().GetID()
    volume.SetAndObserveTransformNodeID(transformId)
    node.SetAndObserveTransformNodeID(transformId)
    before = sceneState()

    schema, found = exported(node, volume, path)

    assertPair(volume, path)
    scan = sitk.GetArrayFromImage(sitk.ReadImage(str(path.with_name("scan.nrrd"))))
    # half of each axis's weight at the nearest voxel makes an eighth
    assert not found[scan < 120].any() and found[scan > 880].all()
    assert found.sum() > 0.5 * liver.sum()
    assert sceneState() == before


def test_under_a_transform_of_its_own_it_lands_where_the_scene_shows_it(scene, path):
    """On a plain grid of 1 mm, a shift by whole voxels is exact; RAS +x is towards lower columns in LPS files."""
    volume = addVolume(array=np.arange(480, dtype=np.int16).reshape(SHAPE), matrix=np.eye(4))
    liver, _ = boxes()
    node = addSegmentation(volume, [("Leber", liver, (1, 0, 0), "")])
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (2, -1, 1)
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(shift.GetID())

    schema, found = exported(node, volume, path)

    assert np.array_equal(found, np.roll(liver, (1, -1, 2), (0, 1, 2)))
    assertPair(volume, path)


def test_another_grid_than_the_volume_is_resampled(scene, path):
    coarse = addVolume("grob", np.zeros((3, 4, 5), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    matrix = np.eye(4)
    matrix[:3, 3] = (-0.5, -0.5, -0.5)  # two fine voxels in each coarse one, along every axis
    fine = addVolume("fein", np.zeros((6, 8, 10), np.int16), matrix)
    array = np.zeros((3, 4, 5), bool)
    array[1, 1:3, 2:4] = True
    node = addSegmentation(coarse, [("Leber", array, (1, 0, 0), "")])

    schema, found = exported(node, fine, path)

    assert np.array_equal(found, array.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def addSphere(node, centre, radius, name="Tumor ü"):
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*centre)
    sphere.SetRadius(radius)
    sphere.SetThetaResolution(60)
    sphere.SetPhiResolution(60)
    sphere.Update()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), name, (1.0, 0.5, 0.0))


def test_a_segmentation_of_surfaces_is_filled(scene, path):
    volume = addVolume(array=np.zeros((20, 22, 24), np.int16), matrix=np.diag([-1.0, -1.0, 1.0, 1.0]))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Flächen")
    node.SetSourceRepresentationToClosedSurface()
    addSphere(node, (-12.2, -10.1, 9.3), 6)
    before = sceneState()

    schema, found = exported(node, volume, path)

    z, y, x = np.indices(found.shape)
    distance = np.sqrt((x - 12.2) ** 2 + (y - 10.1) ** 2 + (z - 9.3) ** 2)
    assert found[distance < 5.3].all() and not found[distance > 6.7].any()
    assert schema.labels[0].name == "Tumor ü"
    assert sceneState() == before


def test_surfaces_are_filled_where_their_transform_takes_them(scene, path):
    volume = addVolume(array=np.zeros((20, 22, 24), np.int16), matrix=np.diag([-1.0, -1.0, 1.0, 1.0]))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Flächen")
    node.SetSourceRepresentationToClosedSurface()
    addSphere(node, (100, 0, 0), 5)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (-112, -10, 9)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())

    schema, found = exported(node, volume, path)

    z, y, x = np.indices(found.shape)
    distance = np.sqrt((x - 12) ** 2 + (y - 10) ** 2 + (z - 9) ** 2)
    assert found[distance < 4.3].all() and not found[distance > 5.7].any()


def test_label_maps_count_and_not_a_surface_made_of_them(scene, path):
    volume, (liver, _) = addVolume(), boxes()
    node = addSegmentation(volume, [("Leber", liver, (1, 0, 0), "")])
    node.CreateClosedSurfaceRepresentation()
    schema, found = exported(node, volume, path)
    assert np.array_equal(found, 1 * liver)


@pytest.mark.parametrize(
    "segments", [[], [("Leber", None, (1, 0, 0), "")], [("Leber", np.zeros(SHAPE), (1, 0, 0), "")]]
)
def test_an_empty_segmentation_is_refused_with_the_remedy(scene, path, segments):
    volume = addVolume()
    with pytest.raises(InputError, match="Köpfe.*nothing is drawn.*Segment Editor"):
        exportSegmentation(addSegmentation(volume, segments), volume, EMPTY, path)
    assert not path.exists()


def test_a_segmentation_of_another_scan_is_refused_with_both_names(scene, path):
    volume, (liver, _) = addVolume(), boxes()
    node = addSegmentation(volume, [("Leber", liver, (1, 0, 0), "")])
    elsewhere = np.eye(4)
    elsewhere[:3, 3] = 5000
    other = addVolume("Knie", matrix=elsewhere)
    with pytest.raises(InputError, match="Köpfe.*nowhere within Knie"):
        exportSegmentation(node, other, EMPTY, path)
