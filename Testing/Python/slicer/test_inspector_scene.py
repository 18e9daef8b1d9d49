"""A generated sample as nodes: what is there, what follows the sliders, what outlives deletion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from inspector_folder import write_folder

from brbs import inspector_files as files
from brbs.errors import InputError
from BRBSTrainingLib.InspectorScene import (
    ATLAS,
    ATLAS_LABELS,
    ATTRIBUTE,
    BOARD,
    DISPLACEMENT,
    GENERATED,
    GENERATED_LABELS,
    JACOBIAN,
    MAGNITUDE,
    TARGET,
    InspectorScene,
)

ROLES = (ATLAS, ATLAS_LABELS, BOARD, DISPLACEMENT, GENERATED, GENERATED_LABELS, JACOBIAN, MAGNITUDE, TARGET)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "Prüfung 1")


@pytest.fixture
def shown(scene, folder) -> InspectorScene:
    shown = InspectorScene()
    shown.load(folder, alpha=1.0, beta=0.0)
    return shown


def array(shown: InspectorScene, role: str) -> np.ndarray:
    return slicer.util.arrayFromVolume(shown.find(role)).copy()


def read(folder: Path, name: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name)))


def inspectorNodes() -> list:
    return [node for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetAttribute(ATTRIBUTE)]


def test_one_set_of_nodes_which_are_not_saved(shown, folder) -> None:
    before = {node.GetID() for node in inspectorNodes()}
    named = [node for node in inspectorNodes() if not node.IsA("vtkMRMLDisplayNode")]
    colours = [node for node in named if node.IsA("vtkMRMLColorNode")]
    assert len(named) - len(colours) == len(ROLES) and len(colours) == 3
    assert len({node.GetName() for node in named}) == len(named)
    assert all(node.GetName().startswith("BRBS inspector ") for node in named)
    assert not any(node.GetSaveWithScene() for node in inspectorNodes())
    shown.load(folder)
    assert {node.GetID() for node in inspectorNodes()} == before
    shown.remove()
    assert not inspectorNodes()
    shown.setAlpha(0.5)
    shown.setBeta(0.5)
    assert not inspectorNodes()


def test_volumes_lie_where_the_files_say(shown, folder) -> None:
    image = sitk.ReadImage(str(folder / files.ATLAS))
    for role, name in ((ATLAS, files.ATLAS), (TARGET, files.SPACE), (JACOBIAN, files.JACOBIAN)):
        node = shown.find(role)
        assert np.array_equal(array(shown, role), read(folder, name))
        for voxel in ((0, 0, 0), (5, 3, 2)):
            lps = np.array(image.TransformIndexToPhysicalPoint(voxel))
            matrix = slicer.util.arrayFromVTKMatrix(ijkToRas(node))
            np.testing.assert_allclose((matrix @ [*voxel, 1])[:3], lps * [-1, -1, 1], atol=1e-6)


def ijkToRas(node) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_beta_mixes_image_and_classes(shown, folder) -> None:
    atlas, difference = read(folder, files.ATLAS), read(folder, files.STYLE_DIFFERENCE)
    own, style = (
        (read(folder, name) > 0).astype(int) + (read(folder, name) > 3) for name in ("atlas.seg.nrrd", "style.seg.nrrd")
    )
    for beta, classes in ((0.0, own), (0.4, own), (0.6, style), (1.0, style), (0.2, own)):
        shown.setBeta(beta)
        np.testing.assert_allclose(array(shown, GENERATED), atlas + beta * difference, atol=1e-6)
        assert np.array_equal(array(shown, GENERATED_LABELS), classes)
    assert np.array_equal(array(shown, ATLAS), atlas)
    assert np.array_equal(array(shown, ATLAS_LABELS), own)


def test_alpha_scales_the_displacement_under_the_generated_nodes(shown, folder) -> None:
    transform = sitk.DisplacementFieldTransform(sitk.ReadTransform(str(folder / files.DISPLACEMENT)))
    points = np.random.default_rng(1).uniform(-8, 8, (50, 3)) + sitk.ReadImage(
        str(folder / files.ATLAS)
    ).TransformContinuousIndexToPhysicalPoint((12.0, 10.0, 8.0))
    for alpha in (0.0, 0.3, 1.0, 1.5):
        shown.setAlpha(alpha)
        assert shown.alpha == alpha
        for role in (GENERATED, GENERATED_LABELS):
            grid = shown.find(role).GetParentTransformNode().GetTransformFromParent()
            moved = [np.array(grid.TransformPoint(point * [-1, -1, 1])) * [-1, -1, 1] for point in points]
            expected = [point + alpha * (np.array(transform.TransformPoint(point)) - point) for point in points]
            np.testing.assert_allclose(moved, expected, atol=1e-4)  # mm
    assert shown.find(ATLAS).GetParentTransformNode() is None


def test_magnitude_is_the_length_of_the_displacement(shown, folder) -> None:
    transform = sitk.DisplacementFieldTransform(sitk.ReadTransform(str(folder / files.DISPLACEMENT)))
    field = transform.GetDisplacementField()
    lengths = np.linalg.norm(sitk.GetArrayFromImage(field), axis=-1)
    np.testing.assert_allclose(array(shown, MAGNITUDE), lengths, atol=1e-5)
    lps = np.array(field.TransformIndexToPhysicalPoint((1, 2, 3)))
    matrix = slicer.util.arrayFromVTKMatrix(ijkToRas(shown.find(MAGNITUDE)))
    np.testing.assert_allclose((matrix @ [1, 2, 3, 1])[:3], lps * [-1, -1, 1], atol=1e-6)


def test_structures_have_their_names_and_colours(shown) -> None:
    colours = shown.find(GENERATED_LABELS).GetDisplayNode().GetColorNode()
    assert [colours.GetColorName(index) for index in range(3)] == ["background", "Hülle", "Kern"]
    colour = [0.0] * 4
    colours.GetColor(2, colour)
    np.testing.assert_allclose(colour, (0.2, 0.5, 0.9, 1.0), atol=0.01)
    colours.GetColor(0, colour)
    assert colour[3] == 0


def test_deleted_nodes_and_a_closed_scene(shown, scene) -> None:
    expected = {role: array(shown, role) for role in ROLES if role != DISPLACEMENT}
    slicer.mrmlScene.RemoveNode(shown.find(GENERATED))
    slicer.mrmlScene.RemoveNode(shown.find(DISPLACEMENT))
    shown.setAlpha(0.5)
    assert shown.find(GENERATED).GetParentTransformNode().GetTransformFromParent().GetDisplacementScale() == 0.5
    scene.Clear(0)
    assert not inspectorNodes() and shown.alpha == 0.5
    shown.setBeta(0.0)
    assert shown.alpha == 0.5
    for role, before in expected.items():
        assert np.array_equal(array(shown, role), before), role


def test_field_is_drawn_as_grid_as_arrows_or_both(shown) -> None:
    node = shown.find(DISPLACEMENT)
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    modes = [display.GetVisualizationMode() for display in displays]
    assert modes == [displays[0].VIS_MODE_GRID, displays[0].VIS_MODE_GLYPH]
    assert [display.GetVisibility() for display in displays] == [1, 1]
    for drawn in ((1, 1), (0, 1), (0, 0), (1, 0)):
        shown.showField(*map(bool, drawn))
        assert tuple(display.GetVisibility() for display in displays) == drawn
        assert all(display.GetVisibility2D() for display in displays)


def test_display_nodes_of_deleted_nodes_go_with_the_next(shown) -> None:
    count = len(inspectorNodes())
    for role in (GENERATED, DISPLACEMENT):
        slicer.mrmlScene.RemoveNode(shown.find(role))
    shown.setAlpha(0.5)
    assert len(inspectorNodes()) == count


def test_checkerboard_keeps_every_other_field_of_the_target(shown, folder) -> None:
    board, target = array(shown, BOARD), read(folder, files.SPACE)
    kept = board >= 0
    assert np.array_equal(board[kept], target[kept])
    assert 0.45 < kept.mean() < 0.55
    assert shown.find(BOARD).GetDisplayNode().GetApplyThreshold()


@pytest.mark.parametrize("name", [files.ATLAS, files.STYLE_SWITCH, files.DISPLACEMENT, files.FIGURES])
def test_missing_or_damaged_file_is_named(scene, folder, name) -> None:
    (folder / name).write_bytes(b"not this")
    with pytest.raises(InputError, match=name):
        InspectorScene().load(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        InspectorScene().load(folder)
