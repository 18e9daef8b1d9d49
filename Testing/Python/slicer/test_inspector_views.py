"""The inspector's slice views and its path."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from inspector_folder import write_folder
from standin.scene import installScene

from BRBSTrainingLib.InspectorLayout import InspectorLayout
from BRBSTrainingLib.InspectorPath import STEPS, InspectorPath
from BRBSTrainingLib.InspectorScene import (
    ATLAS,
    BOARD,
    DISPLACEMENT,
    GENERATED,
    GENERATED_LABELS,
    JACOBIAN,
    TARGET,
    InspectorScene,
)


@pytest.fixture
def shown(application, tmp_path) -> InspectorScene:
    shown = InspectorScene()
    shown.load(write_folder(tmp_path / "files"))
    return shown


def contents(name: str) -> tuple:
    """Names of what a view shows: background, foreground, labels."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    composite = next(node for node in nodes if node.GetLayoutName() == name)
    ids = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID())
    found = [slicer.mrmlScene.GetNodeByID(known) if known else None for known in ids]
    return tuple(node.GetName().removeprefix("BRBS inspector ") if node else None for node in found)


def arrangement() -> int:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement()


def test_side_by_side_and_back(shown) -> None:
    layout, before = InspectorLayout(shown), arrangement()
    layout.show()
    assert layout.sideBySide and arrangement() != before
    assert contents("BRBSAtlas") == (ATLAS, None, "atlas labels")
    assert contents("BRBSGenerated") == (GENERATED, None, GENERATED_LABELS)
    assert contents("BRBSTarget") == (TARGET, None, None)
    assert contents("Red") == (None, None, None)
    views = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    ours = [views[name] for name in ("BRBSAtlas", "BRBSGenerated", "BRBSTarget")]
    assert {node.GetOrientation() for node in ours} == {"Axial"}
    linked = [node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode") if node.GetLinkedControl()]
    assert {node.GetLayoutName() for node in linked} == {node.GetLayoutName() for node in ours}
    assert fieldIsIn("BRBSGenerated") and not fieldIsIn("BRBSTarget")
    layout.show()
    layout.hide()
    assert arrangement() == before
    assert fieldIsIn("Red") and fieldIsIn("Yellow")
    assert contents("Red") == contents("Yellow") == (GENERATED, None, GENERATED_LABELS)


def test_scene_saved_side_by_side_is_left_for_the_conventional_layout(shown) -> None:
    InspectorLayout(shown).show()
    layout = InspectorLayout(shown)  # of an application that has loaded it
    layout.hide()
    assert not layout.sideBySide and arrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    assert fieldIsIn("Red") and contents("Red") == (GENERATED, None, GENERATED_LABELS)


def test_scene_saved_side_by_side_has_its_views_in_an_application_just_started(shown, tmp_path) -> None:
    import BRBSTraining

    BRBSTraining.BRBSTraining(SimpleNamespace())
    InspectorLayout(shown).show()
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    assert slicer.mrmlScene.Commit()
    scene = installScene()
    slicer.app.startupCompleted.emit()
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Connect()
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert all(name in layout.GetCurrentLayoutDescription() for name in ("BRBSAtlas", "BRBSGenerated", "BRBSTarget"))


def fieldIsIn(name: str) -> bool:
    node = slicer.util.getNodesByClass("vtkMRMLGridTransformNode")[0]
    displays = [node.GetNthDisplayNode(index) for index in range(2)]
    (shown,) = {display.IsDisplayableInView(f"vtkMRMLSliceNode{name}") for display in displays}
    return shown


def test_real_views_find_what_they_are_to_show(shown) -> None:
    """Slicer's own logic of a view takes the node that the layout has made for it."""
    InspectorLayout(shown).show()
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.AddSliceNode("BRBSGenerated")
    assert logic.GetBackgroundLayer().GetVolumeNode() is shown.find(GENERATED)
    assert logic.GetLabelLayer().GetVolumeNode() is shown.find(GENERATED_LABELS)


def test_overlay_lies_over_the_generated_volume_only(shown) -> None:
    layout = InspectorLayout(shown)
    layout.show()
    for role in (TARGET, BOARD, JACOBIAN):
        layout.lay(role, 0.3)
        assert contents("BRBSGenerated") == (GENERATED, role, GENERATED_LABELS)
        assert contents("BRBSTarget") == (TARGET, None, None)
    layout.hide()
    layout.lay(TARGET, 0.3)
    assert contents("Red")[1] == TARGET
    layout.lay(None, 0.3)
    assert contents("Red")[1] is None


def test_path_goes_from_the_atlas_to_the_target(shown) -> None:
    shown.setAlpha(0.7)
    node = shown.find(DISPLACEMENT)
    point = np.array(node.GetTransformFromParent().TransformPoint((31.0, -12.5, 195.0)))
    path = InspectorPath(shown)
    path.play()
    assert path.playing and shown.alpha == 0
    browser = slicer.modules.sequences.toolBarBrowser
    assert browser.GetNumberOfItems() == STEPS
    for step, alpha in [*enumerate(np.linspace(0, 1, STEPS)), (3, 0.3)]:
        select(browser, step)
        assert shown.find(DISPLACEMENT) is node
        assert shown.alpha == pytest.approx(alpha)
        assert shown.find(GENERATED).GetParentTransformNode() is node
    assert not node.GetSaveWithScene() and node.GetName() == "BRBS inspector displacement"
    grid = node.GetTransformFromParent()
    assert grid.GetInterpolationModeAsString() == "Linear"
    shown.setAlpha(0.7)
    np.testing.assert_allclose(grid.TransformPoint((31.0, -12.5, 195.0)), point)


def select(browser, step: int) -> None:
    browser.SetSelectedItemNumber(step)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def test_slider_stays_out_of_the_path(shown) -> None:
    path = InspectorPath(shown)
    path.play()
    browser = slicer.modules.sequences.toolBarBrowser
    select(browser, 5)
    path.stop()
    assert not path.playing
    shown.setAlpha(1.3)
    select(browser, 6)
    select(browser, 5)
    assert shown.alpha == pytest.approx(0.5)
    path.remove()
    path.play()
    assert slicer.modules.sequences.toolBarBrowser is not browser
    shown.remove()
    assert not slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    assert not slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
