"""What the tests of scene code build on: slicer.util on a real scene."""

import numpy as np
import slicer


def test_a_segment_set_from_an_array_is_read_back_from_its_file(scene, tmp_path):
    volume = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Köpfe")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", "Kiefer")
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3, 2:4] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, segment)

    assert slicer.util.saveNode(node, tmp_path / "Köpfe.seg.nrrd")
    read = slicer.util.loadSegmentation(tmp_path / "Köpfe.seg.nrrd")

    segment = read.GetSegmentation().GetSegmentIdBySegmentName("Kiefer")
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(read, segment, volume), labels)


def test_a_chart_is_shown_in_a_layout_with_a_plot_view(scene):
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "losses")
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    assert scene.GetFirstNodeByClass("vtkMRMLPlotViewNode").GetPlotChartNodeID() == chart.GetID()


def test_a_new_scene_knows_nothing_of_the_last(scene):
    assert scene is slicer.mrmlScene
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 0
