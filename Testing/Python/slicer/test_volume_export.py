"""Volumes of the scene as files: every voxel lies where the scene shows it."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from scene_nodes import (
    addGridTransform,
    addLinearTransform,
    addVolume,
    ijkToRas,
    obliqueMatrix,
    sceneState,
    worldOfVoxel,
)
from vtk.util.numpy_support import numpy_to_vtk

from brbs.errors import InputError
from brbs.volumes import write_image
from BRBSTrainingLib.VolumeExport import exportVolume, transformNote, volumeFile

LPS = np.array([-1.0, -1.0, 1.0])
CORNERS = [(0, 0, 0), (9, 0, 0), (0, 7, 0), (0, 0, 5), (9, 7, 5)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Müller Studie" / "scans" / "Fall 1.nrrd"


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxels_type_and_oblique_geometry_are_kept(scene, path, kind):
    volume = addVolume(array=np.random.default_rng(1).integers(0, 100, (6, 8, 10)).astype(kind))
    before = sceneState()

    exportVolume(volume, path)

    image = sitk.ReadImage(str(path))
    found = sitk.GetArrayFromImage(image)
    assert found.dtype == kind
    assert np.array_equal(found, slicer.util.arrayFromVolume(volume))
    for corner in CORNERS:
        point = image.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose(point, LPS * worldOfVoxel(volume, corner), atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), volume.GetSpacing(), atol=1e-9)
    assert sceneState() == before
    assert transformNote(volume) == ""


def test_the_file_is_in_lps_and_tells_nothing_of_the_patient(scene, path):
    volume = addVolume("Mustermann^Max")
    volume.SetAttribute("DICOM.PatientName", "Mustermann^Max")
    exportVolume(volume, path)
    header = path.read_bytes().split(b"\n\n")[0].decode()
    assert "space: left-posterior-superior" in header
    assert "encoding: raw" in header
    assert "Mustermann" not in header and ":=" not in header
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_chain_of_linear_transforms_is_applied_without_touching_voxels(scene, path):
    volume = addVolume()
    inner, outer = addLinearTransform("innen", scale=1.5), addLinearTransform("außen")
    inner.SetAndObserveTransformNodeID(outer.GetID())
    volume.SetAndObserveTransformNodeID(inner.GetID())
    before = sceneState()

    exportVolume(volume, path)

    image = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(image), slicer.util.arrayFromVolume(volume))
    for corner in CORNERS:
        point = image.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose(point, LPS * worldOfVoxel(volume, corner), atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), np.multiply(1.5, volume.GetSpacing()), atol=1e-9)
    assert sceneState() == before
    assert "Schädel" in transformNote(volume) and "innen" in transformNote(volume)


def ramp(shape, matrix):
    """A volume that is a linear function of the place (RAS, volume's own coordinates): 1000 + 2x + 3y + 4z."""
    voxels = np.moveaxis(np.indices(shape)[::-1], 0, -1)
    points = voxels @ matrix[:3, :3].T + matrix[:3, 3]
    return (1000 + points @ (2, 3, 4)).astype(np.float32)


def assertRamp(path, volume, ownPoint):
    """Wherever the file's voxels come from inside of the volume, they have the ramp's value of that place."""
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    toVoxel = np.linalg.inv(slicer.util.arrayFromVTKMatrix(ijkToRas(volume)))
    last = np.subtract(volume.GetImageData().GetDimensions(), 1)
    compared = 0
    for place in list(np.ndindex(array.shape))[::3]:
        own = ownPoint(LPS * image.TransformIndexToPhysicalPoint(place[::-1]))
        voxel = (toVoxel @ [*own, 1])[:3]
        if (voxel >= 0).all() and (voxel <= last).all():
            assert array[place] == pytest.approx(1000 + np.dot(own, (2, 3, 4)), abs=0.02)
            compared += 1
    assert compared > 0.2 * slicer.util.arrayFromVolume(volume).size


def test_a_bending_transform_resamples_to_where_the_scene_shows_it(scene, path):
    matrix = obliqueMatrix()
    matrix[:3, 3] = (-3, -4, -6)
    volume = addVolume(array=ramp((12, 16, 18), matrix), matrix=matrix)

    def displacement(points):
        return np.stack([3 + 0.02 * points[:, 1], 0.01 * points[:, 2], -2 + 0 * points[:, 0]], axis=1)

    volume.SetAndObserveTransformNodeID(addGridTransform(displacement).GetID())
    before = sceneState()

    exportVolume(volume, path)

    assertRamp(path, volume, lambda world: world + displacement(world[np.newaxis])[0])
    assert sceneState() == before
    assert "resampled" in transformNote(volume)


def test_nothing_is_cut_off_by_a_bending_transform(scene, path):
    volume = addVolume(array=np.full((6, 8, 10), 7, np.uint8), matrix=np.diag([1.0, 1.0, 1.0, 1.0]))
    volume.GetImageData().GetPointData().GetScalars().SetValue(0, 0)
    volume.SetAndObserveTransformNodeID(addGridTransform(lambda p: np.full_like(p, (20.0, -15.0, 4.0))).GetID())
    exportVolume(volume, path)
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == (10, 8, 6)
    assert (sitk.GetArrayFromImage(image) == 7).sum() == 479
    np.testing.assert_allclose(image.GetOrigin(), (20, -15, -4), atol=1e-4)  # pulled back by (20, -15, 4)


def test_a_b_spline_transform_is_followed(scene, path):
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    volume = addVolume(array=ramp((10, 16, 18), matrix), matrix=matrix)
    coefficients = vtk.vtkImageData()
    coefficients.SetDimensions(8, 8, 8)
    coefficients.SetSpacing(20, 20, 20)
    coefficients.SetOrigin(-60, -60, -60)
    coefficients.AllocateScalars(vtk.VTK_DOUBLE, 3)
    values = np.random.default_rng(3).normal(0, 1.0, (512, 3))
    coefficients.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    spline = slicer.vtkOrientedBSplineTransform()
    spline.SetCoefficientData(coefficients)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "B-Spline")
    node.SetAndObserveTransformFromParent(spline)
    volume.SetAndObserveTransformNodeID(node.GetID())

    exportVolume(volume, path)

    assertRamp(path, volume, lambda world: np.array(spline.TransformPoint(world)))


def test_a_sheared_volume_gets_perpendicular_axes(scene, path):
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    volume = addVolume(array=ramp((10, 16, 18), matrix), matrix=matrix)
    node = addLinearTransform(shear=0.3)
    volume.SetAndObserveTransformNodeID(node.GetID())

    exportVolume(volume, path)

    toParent = slicer.util.arrayFromTransformMatrix(node)
    assertRamp(path, volume, lambda world: (np.linalg.inv(toParent) @ [*world, 1])[:3])
    axes = np.reshape(sitk.ReadImage(str(path)).GetDirection(), (3, 3))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)


def test_oblique_axes_of_the_volume_itself_are_straightened(scene, path):
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    matrix[1, 2] = 0.5  # a tilted gantry
    volume = addVolume(array=ramp((10, 16, 18), matrix), matrix=matrix)
    exportVolume(volume, path)
    assertRamp(path, volume, lambda world: world)
    assert "perpendicular" in transformNote(volume)


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Schädel"), "no voxels"),
        (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Schädel"), "label map"),
        (
            lambda: slicer.util.addVolumeFromArray(
                np.zeros((3, 4, 5, 3)), name="Schädel", nodeClassName="vtkMRMLVectorVolumeNode"
            ),
            "several numbers",
        ),
    ],
)
def test_what_is_no_scan_is_refused_by_name(scene, path, make, reason):
    with pytest.raises(InputError, match=f"Schädel.*{reason}"):
        exportVolume(make(), path)
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_named(scene, path):
    path.parent.parent.mkdir()
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="Fall 1.nrrd.*cannot be written"):
        exportVolume(addVolume(), path)


# The file that a volume was read from


@pytest.fixture
def loaded(scene, tmp_path):
    """A volume as it was read from a file."""
    array = np.random.default_rng(0).normal(size=(6, 8, 10)).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-31.5, 12.25, 193.75))
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
    write_image(image, tmp_path / "Größe 1.nii.gz")
    return slicer.util.loadVolume(tmp_path / "Größe 1.nii.gz")


def test_an_untouched_volume_is_its_file(loaded, tmp_path):
    assert volumeFile(loaded) == tmp_path / "Größe 1.nii.gz"
    loaded.SetName("other")
    assert volumeFile(loaded) == tmp_path / "Größe 1.nii.gz"


def changeVoxels(node):
    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) + 1)


def changeInPlace(node):
    slicer.util.arrayFromVolume(node)[2, 2, 2] = 5
    slicer.util.arrayFromVolumeModified(node)


def place(node):
    node.SetOrigin(1, 2, 3)


def transform(node):
    node.SetAndObserveTransformNodeID(addLinearTransform().GetID())


def harden(node):
    transform(node)
    node.HardenTransform()


@pytest.mark.parametrize("change", [changeVoxels, changeInPlace, place, transform, harden])
def test_a_changed_volume_is_not_its_file(loaded, change):
    change(loaded)
    assert volumeFile(loaded) is None


def test_a_volume_whose_file_has_gone_has_none(loaded, tmp_path):
    (tmp_path / "Größe 1.nii.gz").unlink()
    assert volumeFile(loaded) is None


def test_a_volume_whose_file_now_holds_something_else_has_none(loaded, tmp_path):
    write_image(sitk.Image(10, 8, 7, sitk.sitkFloat32), tmp_path / "Größe 1.nii.gz")
    assert volumeFile(loaded) is None


def test_a_volume_that_was_centred_while_it_was_read_is_not_its_file(loaded):
    storage = loaded.GetStorageNode()
    storage.SetCenterImage(True)
    storage.ReadData(loaded)
    assert not loaded.GetModifiedSinceRead()
    assert volumeFile(loaded) is None


def test_a_label_map_is_no_scan_even_as_it_was_read(loaded):
    path = loaded.GetStorageNode().GetFileName()
    labels = slicer.modules.volumes.logic().AddArchetypeVolume(path, "labels", 1)
    assert labels.IsA("vtkMRMLLabelMapVolumeNode")
    assert volumeFile(labels) is None


def test_a_volume_that_has_lost_its_voxels_has_no_file(loaded):
    loaded.SetAndObserveImageData(None)
    assert volumeFile(loaded) is None


def test_a_volume_of_the_scene_alone_has_no_file(scene):
    assert volumeFile(addVolume()) is None
