"""A segmentation that starts with the study's structures."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from scene_nodes import SHAPE, addLinearTransform, addVolume

from brbs.label_schema import Label, LabelSchema
from brbs.volumes import read_label_map
from BRBSTrainingLib.SegmentationExport import exportSegmentation
from BRBSTrainingLib.SegmentationTemplate import newSegmentation

LIVER = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)
SCHEMA = LabelSchema((Label(1, "Leber", (0.5, 0.25, 0.125), LIVER), Label(2, "Drüse übrig", (1.0, 0.0, 0.5), LIVER)))


def test_segments_have_names_colours_and_terminology_of_the_structures(scene):
    node = newSegmentation(addVolume("Schädel"), SCHEMA)
    assert node.GetName() == "Schädel segmentation"
    segments = [node.GetSegmentation().GetNthSegment(index) for index in range(2)]
    assert [(segment.GetName(), segment.GetColor()) for segment in segments] == [
        (label.name, label.colour) for label in SCHEMA.labels
    ]
    assert all(segment.HasTag(segment.GetTerminologyEntryTagName()) for segment in segments)
    assert node.GetDisplayNode() is not None


def test_the_scan_is_the_reference(scene):
    volume = addVolume()
    node = newSegmentation(volume, SCHEMA)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume


def test_without_structures_it_has_no_segments(scene):
    assert newSegmentation(addVolume(), LabelSchema(())).GetSegmentation().GetNumberOfSegments() == 0


@pytest.mark.parametrize("moved", [False, True])
def test_what_is_drawn_in_it_is_exported_on_the_scan(scene, tmp_path, moved):
    volume = addVolume()
    if moved:
        volume.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    node = newSegmentation(volume, SCHEMA)
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[1:4, 2:6, 3:8] = 1
    segmentId = node.GetSegmentation().GetSegmentIdBySegmentName("Drüse übrig")
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, segmentId, volume)

    exportSegmentation(node, volume, SCHEMA, tmp_path / "a.seg.nrrd")

    assert np.array_equal(sitk.GetArrayFromImage(read_label_map(tmp_path / "a.seg.nrrd")), 2 * drawn)
