"""The course of a training as tables and charts of the scene."""

import numpy as np
import pytest
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from BRBSTrainingLib.ThinnedRows import MOST_ROWS, ThinnedRows
from BRBSTrainingLib.TrainingPlots import TrainingPlots

CLASSES = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")


def losses(step, **values):
    return {"time": 1.0, "kind": "losses", "step": step, "seconds": 2.0, "phase": "together", **values}


def validation(step, **dice):
    return {"time": 1.0, "kind": "validation", "step": step, "seconds": 2.0, "dice": dice}


def counts():
    """How many tables, series and charts there are."""
    return tuple(slicer.mrmlScene.GetNumberOfNodesByClass(name) for name in CLASSES)


def curve(chartName, name):
    """Steps and values of a curve as its chart shows them."""
    chart = slicer.mrmlScene.GetFirstNodeByName(chartName)
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        if series.GetYColumnName() == name:
            table = series.GetTableNode().GetTable()
            names = (series.GetXColumnName(), series.GetYColumnName())
            return [vtk_to_numpy(table.GetColumnByName(column)).tolist() for column in names]
    raise AssertionError(f"no curve {name}")


@pytest.fixture
def plots(scene):
    return TrainingPlots()


def test_losses_and_dice_become_curves_of_two_charts(plots):
    plots.add([losses(1, segmentation_total=3.0), {"kind": "sample", "step": 1}, losses(5, segmentation_total=2.0)])
    plots.add([losses(9, segmentation_total=1.0, registration_total=-0.5)])
    plots.add([validation(9, mean=0.75, Leber=0.5, Drüse=1.0)])

    assert curve("BRBS losses", "segmentation_total") == [[1, 5, 9], [3.0, 2.0, 1.0]]
    steps, values = curve("BRBS losses", "registration_total")
    assert np.isnan(values[:2]).all() and values[2] == -0.5
    assert curve("BRBS validation Dice", "Drüse") == [[9], [1.0]]
    assert counts() == (2, 5, 2)
    assert slicer.mrmlScene.GetFirstNodeByName("segmentation total") is not None


def test_nothing_to_show_makes_no_nodes(plots):
    before = slicer.mrmlScene.GetNumberOfNodes()
    plots.add([])
    plots.add([{"kind": "sample", "step": 3}])
    plots.clear()
    plots.remove()
    assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.parametrize("className", CLASSES)
def test_deleted_nodes_come_again_with_all_points(plots, className):
    plots.add([losses(1, total=3.0), validation(1, mean=0.5)])
    for node in slicer.util.getNodesByClass(className):
        slicer.mrmlScene.RemoveNode(node)
    plots.add([losses(2, total=2.0), validation(2, mean=0.6)])
    assert curve("BRBS losses", "total") == [[1, 2], [3.0, 2.0]]
    assert curve("BRBS validation Dice", "mean") == [[1, 2], [0.5, 0.6]]
    assert counts() == (2, 2, 2)


def test_closing_the_scene_loses_no_point(plots, scene):
    plots.add([losses(1, total=3.0)])
    scene.Clear(0)
    assert counts() == (0, 0, 0)
    plots.showLosses()
    assert curve("BRBS losses", "total") == [[1], [3.0]]
    plots.add([losses(2, total=2.0)])
    assert curve("BRBS losses", "total") == [[1, 2], [3.0, 2.0]]


def test_showing_the_same_training_again_makes_no_second_chart(plots):
    events = [losses(1, total=3.0, smooth=1.0), validation(1, mean=0.5)]
    plots.add(events)
    before = counts()
    again = TrainingPlots()
    again.add(events)
    assert counts() == before == (2, 3, 2)
    assert curve("BRBS losses", "total") == [[1], [3.0]]


def test_renamed_nodes_are_found_again(plots):
    plots.add([losses(1, total=3.0)])
    chart = slicer.mrmlScene.GetFirstNodeByName("BRBS losses")
    chart.SetName("mine")
    plots.add([losses(2, total=2.0)])
    assert counts() == (1, 1, 1)
    assert curve("mine", "total")[0] == [1, 2]


def test_another_training_starts_with_empty_curves_of_its_own_structures(plots):
    plots.add([losses(1, total=3.0), validation(1, mean=0.5, Leber=0.5)])
    plots.clear()
    assert counts() == (2, 0, 2)
    plots.add([losses(4, total=1.0), validation(4, mean=0.9, Niere=0.9)])
    assert curve("BRBS losses", "total") == [[4], [1.0]]
    with pytest.raises(AssertionError):
        curve("BRBS validation Dice", "Leber")


def test_a_training_resumed_from_a_checkpoint_replaces_what_was_lost(plots):
    plots.add([losses(step, total=float(step)) for step in (1, 10, 20, 30)])
    plots.add([losses(15, total=-1.0), losses(25, total=-2.0)])
    assert curve("BRBS losses", "total") == [[1, 10, 15, 25], [1.0, 10.0, -1.0, -2.0]]
    plots.add([losses(40, total=0.0), losses(20, total=5.0), losses(21, total=6.0)])
    assert curve("BRBS losses", "total") == [[1, 10, 15, 20, 21], [1.0, 10.0, -1.0, 5.0, 6.0]]


def test_the_chart_is_shown_in_a_plot_view(plots):
    plots.add([losses(1, total=3.0)])
    plots.showLosses()
    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode().GetName() == "BRBS losses"
    plots.showDice()
    assert view.GetPlotChartNode().GetName() == "BRBS validation Dice"


def test_the_chart_can_be_shown_before_the_first_event(plots):
    plots.showLosses()
    plots.showDice()
    assert counts() == (2, 0, 2)


def test_removing_leaves_the_scene_as_it_was(plots, scene):
    own = scene.AddNewNodeByClass("vtkMRMLTableNode", "BRBS losses table")
    before = counts()
    plots.add([losses(1, total=3.0), validation(1, mean=0.5)])
    plots.remove()
    assert counts() == before
    assert scene.IsNodePresent(own)


def test_the_curves_are_not_saved_with_the_scene(plots):
    plots.add([losses(1, total=3.0), validation(1, mean=0.5)])
    nodes = [node for name in CLASSES for node in slicer.util.getNodesByClass(name)]
    assert not any(node.GetSaveWithScene() for node in nodes)


def test_fifty_thousand_events_in_bites_stay_few_rows_with_the_means_of_the_curve(plots):
    values = np.random.default_rng(0).normal(size=50_000)
    for start in range(0, 50_000, 1_300):
        bite = range(start, min(start + 1_300, 50_000))
        plots.add([losses(step, total=values[step], late=1.0 * (step > 100)) for step in bite])

    steps, means = curve("BRBS losses", "total")

    assert MOST_ROWS / 2 <= len(means) <= MOST_ROWS
    expected = [values[start : start + 32].mean() for start in range(0, 50_000, 32)]
    np.testing.assert_allclose(means, expected, atol=1e-12)
    assert steps[0] == 15.5 and np.all(np.diff(steps) > 0)
    assert np.average(curve("BRBS losses", "late")[1]) == pytest.approx(1 - 101 / 50_000, abs=1e-3)


def test_thinned_numbers_go_on_after_a_cut(scene):
    rows = ThinnedRows()
    rows.add(range(5000), [{"a": 1.0}] * 5000)  # four to a row
    rows.add(range(4001, 9001), [{"a": 3.0}] * 5000)
    assert len(rows) <= MOST_ROWS
    a = rows.column("a")
    assert set(a[rows.steps < 3990]) == {1.0} and set(a[rows.steps > 4010]) == {3.0}
