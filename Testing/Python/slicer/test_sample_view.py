"""Generated samples in the slice views."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from brbs.errors import InputError
from brbs.volumes import write_image, write_label_map
from BRBSTrainingLib.SampleView import showSample

EVENT = {"kind": "sample", "step": 7, "image": "sample/image.nrrd", "labels": "sample/labels.seg.nrrd", "alpha": 0.3}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "Müller Studie" / "models" / "001" / "training"


def writeSample(folder, value, metas=((1, "Leber", (1.0, 0.5, 0.0), ""),)):
    """Writes what a training writes: a scan with ``value`` in one corner and a label map of all metas in a row."""
    array = np.random.default_rng(0).normal(size=(6, 8, 10)).astype(np.float32)
    array[0, 0, 0] = value
    labels = np.zeros(array.shape, np.uint8)
    for place, meta in enumerate(metas):
        labels[1:4, 2:5, 2 + place] = meta[0]
    for content, write in ((array, write_image), (labels, lambda *args: write_label_map(*args, metas))):
        image = sitk.GetImageFromArray(content)
        image.SetSpacing((1.5, 2.0, 2.5))
        image.SetOrigin((-10.0, 5.0, 30.0))
        write(image, folder / EVENT["image" if write is write_image else "labels"])
    return array, labels


def nodes():
    """The volume and the segmentation nodes of the scene."""
    return tuple(slicer.util.getNodesByClass(f"vtkMRML{kind}Node") for kind in ("ScalarVolume", "Segmentation"))


def assertShown(array, labels, names):
    (volume,), (segmentation,) = nodes()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), array)
    np.testing.assert_allclose(volume.GetOrigin(), (10.0, -5.0, 30.0))
    segments = segmentation.GetSegmentation()
    ids = segments.GetSegmentIDs()
    assert [segments.GetSegment(name).GetName() for name in ids] == names
    for value, segmentId in enumerate(ids, 1):
        drawn = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, volume)
        assert np.array_equal(drawn, labels == value)


def test_scan_and_labels_are_shown(scene, folder):
    array, labels = writeSample(folder, 5.0)
    showSample(folder, EVENT)
    assertShown(array, labels, ["Leber"])
    (volume,), (segmentation,) = nodes()
    assert volume.GetName() == "BRBS sample"
    assert volume.GetDisplayNode() is not None and segmentation.GetDisplayNode() is not None
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetBackgroundVolumeID() == volume.GetID()


def test_the_next_sample_takes_the_place_of_the_last(scene, folder):
    writeSample(folder, 5.0)
    showSample(folder, EVENT)
    before = scene.GetNumberOfNodes()
    (volume,), (segmentation,) = nodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(3.0, 1.0)

    array, labels = writeSample(folder, 9.0, ((1, "Drüse", (0.0, 1.0, 0.0), ""), (2, "Niere", (0.0, 0.0, 1.0), "")))
    showSample(folder, EVENT)

    assert scene.GetNumberOfNodes() == before
    assert nodes() == ([volume], [segmentation])
    assertShown(array, labels, ["Drüse", "Niere"])
    assert (volume.GetDisplayNode().GetWindow(), volume.GetDisplayNode().GetLevel()) == (3.0, 1.0)


def test_nodes_that_were_renamed_or_deleted(scene, folder):
    array, labels = writeSample(folder, 5.0)
    showSample(folder, EVENT)
    (volume,), (segmentation,) = nodes()
    volume.SetName("mine")
    slicer.mrmlScene.RemoveNode(segmentation)
    showSample(folder, EVENT)
    assertShown(array, labels, ["Leber"])
    scene.Clear(0)
    showSample(folder, EVENT)
    assertShown(array, labels, ["Leber"])


def test_samples_are_not_saved_with_the_scene(scene, folder):
    before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    writeSample(folder, 5.0)
    showSample(folder, EVENT)
    kinds = ("vtkMRMLStorableNode", "vtkMRMLStorageNode", "vtkMRMLDisplayNode")
    added = [node for kind in kinds for node in slicer.util.getNodesByClass(kind) if node.GetID() not in before]
    assert len(added) == 6
    assert not any(node.GetSaveWithScene() for node in added)


def test_the_users_own_nodes_are_left_alone(scene, folder):
    own = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5)), name="BRBS sample")
    writeSample(folder, 5.0)
    showSample(folder, EVENT)
    assert own.GetImageData().GetDimensions() == (5, 4, 3)
    assert len(nodes()[0]) == 2


def test_a_missing_file_is_named(scene, folder):
    writeSample(folder, 5.0)
    (folder / EVENT["labels"]).unlink()
    with pytest.raises(InputError, match="labels.seg.nrrd.*another sample"):
        showSample(folder, EVENT)


def test_a_damaged_file_is_named(scene, folder):
    writeSample(folder, 5.0)
    (folder / EVENT["image"]).write_bytes(b"no image")
    with pytest.raises(InputError, match="image.nrrd.*another sample"):
        showSample(folder, EVENT)
