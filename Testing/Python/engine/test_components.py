"""Pieces of structures that should be one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk

from brbs.components import whole_classes, without_small_pieces


def image(array: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((1.0, 2.0, 3.0))
    made.SetOrigin((-4.0, 5.0, 6.0))
    return made


def classes_of(*boxes: tuple[int, tuple[slice, slice, slice]]) -> np.ndarray:
    array = np.zeros((12, 14, 16), np.uint8)
    for index, box in boxes:
        array[box] = index
    return array


LARGE = np.s_[0:4, 0:4, 0:4]  # 64 voxels
QUARTER = np.s_[6:10, 8:10, 10:12]  # 16
SMALL = np.s_[6:11, 1:4, 14:15]  # 15


def test_structures_in_one_piece_in_every_atlas_are_found() -> None:
    one, other = classes_of((1, LARGE), (2, QUARTER), (2, LARGE)), classes_of((1, SMALL), (3, LARGE))
    one[10, 12, 14] = 1  # a stray voxel among 65
    assert whole_classes(np.stack([one, other])) == {1, 3}
    assert whole_classes(np.zeros((0, 4, 4, 4), np.uint8)) == whole_classes(np.zeros((2, 4, 4, 4), np.uint8)) == set()


def test_pieces_smaller_than_a_quarter_go() -> None:
    found = image(classes_of((1, LARGE), (1, QUARTER), (1, SMALL), (2, np.s_[11:12, 13:14, 0:1])))
    cleaned, count = without_small_pieces(found, {1})
    expected = classes_of((1, LARGE), (1, QUARTER), (2, np.s_[11:12, 13:14, 0:1]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(cleaned), expected)
    assert count == 1
    assert cleaned.GetSpacing() == found.GetSpacing() and cleaned.GetOrigin() == found.GetOrigin()


def test_other_structures_within_the_box_stay() -> None:
    array = classes_of((1, LARGE), (1, SMALL))
    array[6, 0, 0:4] = 2
    cleaned, _ = without_small_pieces(image(array), {1})
    assert np.count_nonzero(sitk.GetArrayFromImage(cleaned) == 2) == 4


def test_one_piece_stays_of_equals_when_only_the_largest_is_wanted() -> None:
    found = image(classes_of((1, LARGE), (1, np.s_[6:10, 6:10, 6:10])))
    cleaned, count = without_small_pieces(found, {1}, kept=math.inf)
    assert (np.count_nonzero(sitk.GetArrayFromImage(cleaned)), count) == (64, 1)


def test_touching_corners_make_one_piece() -> None:
    array = classes_of((1, LARGE))
    array[4, 4, 4] = 1
    cleaned, count = without_small_pieces(image(array), {1})
    assert (np.count_nonzero(sitk.GetArrayFromImage(cleaned)), count) == (65, 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_a_bent_structure_cut_by_the_scan_s_end_keeps_both_ends(axis: int, last: bool) -> None:
    array = np.zeros((12, 14, 16), np.uint8)
    ends = np.moveaxis(array, axis, 0)[:: -1 if last else 1]
    ends[0:6, 3:6, 3:6] = ends[0:2, 8:10, 8:10] = 1
    cleaned, count = without_small_pieces(image(array), {1})
    assert np.array_equal(sitk.GetArrayFromImage(cleaned), array) and count == 0
    ends[0, 8:10, 8:10] = 0  # it ends before the scan does
    assert without_small_pieces(image(array), {1})[1] == 1
    ends[0, 3:6, 3:6], ends[0, 8:10, 8:10] = 0, 1  # the largest does
    assert without_small_pieces(image(array), {1})[1] == 1


@pytest.fixture(params=[1, 2, 16])
def threads(request: pytest.FixtureRequest):
    """So many compute, however many cores there are."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(request.param)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_pieces_that_the_atlases_voxels_could_not_tell_apart_belong_together(threads) -> None:
    found = image(classes_of((1, LARGE), (1, np.s_[1:3, 1:3, 7:9])))
    for gap, removed in ((0, 1), (2, 1), (3, 0)):
        assert without_small_pieces(found, {1}, gap=(gap, 0, 0))[1] == removed
    assert without_small_pieces(found, {1}, gap=(0, 6, 6))[1] == 1


@pytest.mark.parametrize("indices", [set(), {1}, {5}])
def test_what_is_whole_already_is_handed_back(indices: set[int]) -> None:
    found = image(classes_of((1, LARGE)))
    cleaned, count = without_small_pieces(found, indices)
    assert cleaned is found and count == 0
