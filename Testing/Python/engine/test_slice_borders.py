"""Borders that annotators put between slices."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from known_scans import DIRECTIONS, blank, scan
from tiny_model import brightness_classes, tiny_bundle

from brbs.grid import WorkingGrid
from brbs.predictor import Predictor
from brbs.slice_borders import SliceBorder, along_slices, slice_borders

SHAPE = (10, 14, 12)
GRID = WorkingGrid(SHAPE[::-1], (1.0, 1.0, 1.0), intensity="window", window=(0.0, 1.0))
BORDER = SliceBorder(1, 2, 1)


def organ(cut: int, axis: int = 1) -> np.ndarray:
    """A box whose slices before ``cut`` are structure 1 and all others structure 2."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:8, 2:12, 3:9] = 2
    before = np.moveaxis(labels, axis, 0)[:cut]
    before[before > 0] = 1
    return labels


def ragged() -> np.ndarray:
    """As :func:`organ` cut at 7, but with a corner of the first structure two slices further."""
    labels = organ(7)
    labels[2:5, 7:9, 3:6] = 1
    return labels


def probabilities(labels: np.ndarray, sure: float = 0.7) -> np.ndarray:
    onehot = np.stack([labels == index for index in range(3)])
    return np.where(onehot, sure, (1 - sure) / 2).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_border_along_slices_is_found_with_its_axis(axis: int) -> None:
    assert slice_borders(np.stack([organ(5, axis), organ(6, axis)])) == [SliceBorder(1, 2, axis)]


def test_one_atlas_in_three_may_cut_a_slice() -> None:
    unclean = organ(6)
    unclean[2:3, 6, 3:9] = 1
    assert slice_borders(np.stack([organ(5), organ(7), unclean])) == [BORDER]
    assert slice_borders(np.stack([organ(5), unclean, unclean])) == []


def test_an_atlas_that_lacks_a_structure_tells_nothing() -> None:
    assert slice_borders(np.stack([organ(5), organ(14), organ(6), organ(0)])) == [BORDER]
    assert slice_borders(np.stack([organ(5), organ(14), organ(0)])) == [], "one alone may be so by chance"
    assert slice_borders(np.zeros((0, *SHAPE), np.uint8)) == []


def test_structures_that_stand_apart_or_hardly_touch_have_no_border() -> None:
    apart, beside = organ(6), organ(6)
    apart[:, 6] = 0
    beside[5:8, :6], beside[2:4, 6:] = 0, 0  # a third of the section lies over the other structure
    assert slice_borders(np.stack([apart] * 2)) == slice_borders(np.stack([beside] * 2)) == []


def test_a_tilted_border_is_none() -> None:
    assert slice_borders(np.stack([ragged()] * 2)) == []


def seen_by(image: sitk.Image, labels: np.ndarray) -> sitk.Image:
    """Class indices on the working grid, on a scan's."""
    return sitk.Resample(
        GRID.image(labels), image, GRID.place(image).GetInverse(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_slices_go_to_the_likelier_structure_however_the_scan_lies(direction: str) -> None:
    image = blank((24, 24, 24), direction=DIRECTIONS[direction])
    before = seen_by(image, ragged())
    cut = along_slices(before, [BORDER], probabilities(ragged()), GRID, GRID.place(image))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(cut), sitk.GetArrayFromImage(seen_by(image, organ(7))))
    assert np.count_nonzero(sitk.GetArrayFromImage(before) == 1) > np.count_nonzero(sitk.GetArrayFromImage(cut) == 1)
    assert cut.GetDirection() == image.GetDirection() and cut.GetOrigin() == image.GetOrigin()


def test_few_sure_voxels_outweigh_many_doubtful_ones() -> None:
    found = probabilities(organ(7), 0.4)
    found[:, 2:4, 6, 3:9] = probabilities(organ(6), 0.98)[:, 2:4, 6, 3:9]
    image = blank(SHAPE[::-1])
    before = seen_by(image, found.argmax(0).astype(np.uint8))
    cut = along_slices(before, [BORDER], found, GRID, GRID.place(image))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(cut), organ(6))


def test_where_the_network_is_sure_a_scan_that_lies_turned_keeps_its_slanting_border() -> None:
    image = blank(SHAPE[::-1])
    turned = organ(7)
    for row in range(2, 8):
        turned[row, 4:10, 3:9] = np.where(np.arange(4, 10) < row + 2, 1, 2)[:, None]
    cut = along_slices(seen_by(image, turned), [BORDER], probabilities(turned, 0.94), GRID, GRID.place(image))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(cut), turned)


def test_a_finer_scan_is_cut_between_its_own_slices() -> None:
    image = blank((24, 56, 20), (0.5, 0.25, 0.5))
    cut = along_slices(seen_by(image, ragged()), [BORDER], probabilities(ragged()), GRID, GRID.place(image))
    slices = np.moveaxis(sitk.GetArrayFromImage(cut), 1, 0)
    kinds = [np.unique(labels[labels > 0]).tolist() for labels in slices if labels.any()]
    assert kinds == [[1]] * kinds.count([1]) + [[2]] * kinds.count([2])
    assert abs(kinds.count([1]) - 4 * 5) <= 1, "five slices of 1 mm"


def test_other_structures_and_what_lies_beyond_the_grid_stay() -> None:
    image = blank((12, 40, 10))
    array = np.zeros((10, 40, 12), np.uint8)
    array[2:8, 13:27, 3:9] = ragged()[2:8, :, 3:9]
    array[2:8, 13:27, 9] = 3
    array[2:5, 2, 3:9], array[5:8, 2, 3:9] = 1, 2
    before = sitk.GetImageFromArray(array)
    before.CopyInformation(image)
    found = np.concatenate([probabilities(ragged()), np.zeros((1, *SHAPE), np.float32)])
    cut = sitk.GetArrayFromImage(along_slices(before, [BORDER], found, GRID, GRID.place(image)))
    np.testing.assert_array_equal(cut[:, 13:27, :9], organ(7)[..., :9])
    np.testing.assert_array_equal(cut[..., 9:], array[..., 9:])
    np.testing.assert_array_equal(cut[:, :13], array[:, :13])


@pytest.mark.parametrize(("atlas", "expected"), [(organ(6), organ(7)), (ragged(), ragged())])
def test_a_segmentation_has_borders_as_its_atlases(atlas: np.ndarray, expected: np.ndarray) -> None:
    atlases = {"atlas_images": np.zeros((2, *SHAPE), np.float16), "atlas_labels": np.stack([atlas] * 2)}
    predictor = Predictor(tiny_bundle(grid=GRID, **atlases), torch.device("cpu"))
    predictor.network = lambda image: brightness_classes(image) / 20  # not sure
    found = predictor.segment(scan(ragged() / np.float32(2)))
    values = np.array([0, *(label.value for label in predictor.schema.labels)])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), values[expected])
    np.testing.assert_array_equal(found.found.argmax(0), ragged())
