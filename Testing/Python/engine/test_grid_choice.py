"""Choosing the working grid of a study: spacing, size, alignment, region."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from known_scans import DIRECTIONS, blank, noise, one_hot, rotation, scan

from brbs.alignment import Geometry
from brbs.anisotropy import grid_multiples
from brbs.grid import WorkingGrid
from brbs.grid_choice import choose_grid
from brbs.restoration import restore
from brbs.settings import Settings


def atlas(size, spacing=(1.0, 1.0, 1.0), direction=None, box=None):
    labels = np.zeros(size[::-1], np.int16)
    x, y, z = box or [(n // 2, n // 2 + 1) for n in size]
    labels[slice(*z), slice(*y), slice(*x)] = 205
    return scan(noise(size), spacing, direction), scan(labels, spacing, direction)


def test_grid_takes_median_spacing_and_largest_extent_in_canonical_axes():
    atlases = [
        atlas((30, 41, 20)),
        atlas((35, 52, 28)),
        atlas((24, 33, 40), direction=DIRECTIONS["permuted"]),  # its x runs along y, y along -z, z along -x
    ]
    grid = choose_grid(atlases, [], Settings(), 10**6)
    assert grid.spacing == (1.0, 1.0, 1.0)
    assert grid.size == (40, 56, 40)  # 40, 52, 33 voxels, each rounded up to a multiple of 8
    # Axes that are 2 and 4 times coarser than the finest one are halved once and twice less.
    assert choose_grid(atlases, [], Settings(spacing=(2.0, 1.0, 4.0)), 10**6).size == (20, 56, 10)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (10**7, lambda s: s == (0.5, 1.0, 5.0)),
        (120_000, lambda s: 0.5 < s[0] < 1.0 == s[1] and s[2] == 5.0),
        (10_000, lambda s: 1.0 < s[0] == s[1] < 5.0 == s[2]),
        (600, lambda s: s[0] == s[1] == s[2] > 5.0),
    ],
)
def test_coarsening_obeys_the_budget_and_spares_the_coarsest_axis(budget, expected, caplog):
    with caplog.at_level(logging.INFO, "brbs"):
        grid = choose_grid([atlas((100, 50, 16), (0.5, 1.0, 5.0))], [], Settings(), budget)
    assert math.prod(grid.size) <= budget
    assert expected(grid.spacing)
    assert all(size % multiple == 0 for size, multiple in zip(grid.size, grid_multiples(grid.spacing)))
    assert np.all(np.array(grid.size) * grid.spacing >= np.array([50.0, 50.0, 80.0]) - 0.1)
    assert ("coarsened" in caplog.text) == (budget < 10**7)


def test_few_thick_slices_are_padded_to_what_can_be_bent_and_told_apart():
    assert choose_grid([atlas((100, 90, 1), (0.5, 0.5, 8.0))], [], Settings(), 10**6).size == (104, 96, 4)
    assert choose_grid([atlas((100, 90, 13), (0.5, 0.5, 8.0))], [], Settings(), 10**6).size == (104, 96, 13)


def test_impossible_budget_is_refused():
    with pytest.raises(ValueError, match="budget"):
        choose_grid([atlas((20, 20, 20))], [], Settings(), 100)


@pytest.mark.parametrize(("height", "chosen"), [(44, "none"), (60, "center-of-mass"), (12, "affine"), (120, "affine")])
def test_alignment_follows_how_far_fields_of_view_differ(height, chosen, caplog):
    atlases = [atlas((32, 32, 32)), atlas((30, 32, 32))]
    odd = Geometry.of(blank((32, 32, height // 2), (1.0, 1.0, 2.0)))
    others = [Geometry.of(blank((32, 32, 32)))]
    with caplog.at_level(logging.INFO, "brbs"):
        assert choose_grid(atlases, [*others, odd], Settings(), 10**6).alignment == chosen
    assert f"alignment: {chosen}" in caplog.text
    assert choose_grid(atlases, [odd], Settings(alignment="none"), 10**6).alignment == "none"


def test_oblique_scans_of_one_protocol_keep_their_axes_in_one_order():
    """Near 45 degrees a few degrees decide which canonical axis is closest: short axes of the heart lie so."""
    turned = [rotation((1.0, 2.0, 0.5), degrees) @ rotation((0.2, 1.0, -0.4), 45) for degrees in (-12, -4, 5, 13)]
    scans = [blank((64, 64, 10), (5.6, 5.6, 10.0), direction=direction) for direction in turned]
    alone = {tuple(Geometry.of(each).size) for each in scans}
    assert len(alone) > 1, "each by itself comes in another order"
    grid = choose_grid([(each, each) for each in scans[:2]], list(map(Geometry.of, scans[2:])), Settings(), 10**6)
    assert sorted(grid.size) == [16, 64, 64]
    first = np.reshape(grid.axes, (3, 3))
    for each in scans:
        placed = np.reshape(grid.place(each).GetMatrix(), (3, 3))
        assert np.trace(first.T @ placed) > 2.8, "turned by some degrees, not by 90"
    assert WorkingGrid.from_json(json.loads(json.dumps(grid.to_json()))) == grid


def test_a_grid_of_an_earlier_version_takes_canonical_axes():
    grid = WorkingGrid((8, 8, 8), (1.0, 1.0, 1.0))
    earlier = {name: value for name, value in grid.to_json().items() if name != "axes"}
    assert WorkingGrid.from_json(earlier) == grid


def ct(inside: tuple[float, float], air: float = -1024.0) -> tuple[sitk.Image, sitk.Image]:
    """A CT and its label map: air, padding at a corner, soft tissue of 40 HU, and an organ of such values."""
    array, labels = np.full((16, 16, 16), air, np.float32), np.zeros((16, 16, 16), np.uint8)
    array[:3, :3], array[4:14, 2:14, 2:14] = -3024, 40
    labels[6:12, 4:12, 4:12] = 1
    array[labels == 1] = np.random.default_rng(0).uniform(*inside, np.count_nonzero(labels))
    return scan(array), scan(labels)


def test_ct_gets_a_window_around_the_structures_and_all_else_percentiles():
    spleen = choose_grid([ct((80, 140)), ct((90, 150))], [], Settings(), 10**6)
    assert spleen.intensity == "window" and spleen.window == pytest.approx((-120, 350), abs=3)
    lungs = choose_grid([ct((-900, -500))], [], Settings(), 10**6)
    assert lungs.window[0] == -1000 and lungs.window[1] == pytest.approx(-300, abs=5)
    assert choose_grid([atlas((20, 20, 20))], [], Settings(), 10**6).intensity == "percentiles"
    assert choose_grid([ct((80, 140)), atlas((16, 16, 16))], [], Settings(), 10**6).intensity == "percentiles"
    cropped, labels = ct((80, 140))
    cropped = sitk.Clamp(cropped, lowerBound=-120)  # nothing but body
    assert choose_grid([(cropped, labels), ct((80, 140))], [], Settings(), 10**6).intensity == "window"
    assert choose_grid([(cropped, labels)], [], Settings(), 10**6).intensity == "percentiles"
    assert choose_grid([ct((80, 140))], [], Settings(intensity="percentiles"), 10**6).intensity == "percentiles"


@pytest.mark.parametrize(("slices", "chosen"), [(60, "none"), (76, "affine"), (100, "affine")])
def test_scans_whose_middles_may_lie_centimetres_apart_are_registered(slices, chosen):
    """At 5 mm a slice, 50 slices are usual: 76 may show the same anatomy 65 mm lower."""
    usual = [blank((40, 40, 50), (10.0, 10.0, 5.0)) for _ in range(3)]
    odd = Geometry.of(blank((40, 40, slices), (10.0, 10.0, 5.0)))
    atlases = [(image, image) for image in usual]
    assert choose_grid(atlases, [odd], Settings(region="whole"), 10**6).alignment == chosen


def test_stacks_of_few_thick_slices_are_not_registered():
    """They are planned on the organ; one of a wider field of view shows it in the middle, too."""
    usual, wide = (blank((edge, edge, 10), (1.5, 1.5, 10.0)) for edge in (200, 280))
    box = ((95, 105), (95, 105), (4, 6))
    assert choose_grid([(usual, usual)], [Geometry.of(wide)], Settings(region="whole"), 10**6).alignment == "none"
    grid = choose_grid([atlas((200, 200, 10), (1.5, 1.5, 10.0), box=box)], [], Settings(), 10_000)
    assert (grid.alignment, grid.region) == ("none", "whole")
    wished = Settings(spacing=(1.5, 1.5, 1.5))  # of the grid; the scans are as they are
    assert choose_grid([atlas((200, 200, 10), (1.5, 1.5, 10.0), box=box)], [], wished, 20**3).region == "whole"


def test_many_thick_slices_are_no_thin_stack_however_coarse_the_grid():
    pair = atlas((200, 200, 50), (2.0, 2.0, 5.0), box=((95, 105), (95, 105), (24, 26)))
    whole = choose_grid([pair], [], Settings(region="whole"), 36**3)
    assert whole.size[2] < 32 and choose_grid([pair], [], Settings(), 36**3).region == "labels"


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_region_is_the_surroundings_of_the_labels(direction):
    image, labels = atlas((60, 50, 40), direction=direction, box=((5, 15), (30, 38), (22, 28)))
    grid = choose_grid([(image, labels)], [], Settings(region="labels", region_margin=3.0), 10**6)
    assert sorted(grid.size) == [16, 16, 16]
    placement = grid.place(image)
    sampled = grid.sample_labels(labels != 0, placement)
    assert sampled.sum() == 10 * 8 * 6
    found = np.argwhere(sampled)
    assert np.all(found.min(0) >= 3) and np.all(found.max(0) <= 12)  # the margin on all sides
    restored = restore(grid, one_hot(sampled, 2), image, placement)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(restored), sitk.GetArrayFromImage(labels) == 205)
    generous = choose_grid([(image, labels)], [], Settings(region="labels", region_margin=500.0), 10**6)
    assert sorted(generous.size) == [40, 56, 64]  # the margin ends where the scan ends


@pytest.mark.parametrize(
    ("box", "budget", "chosen"),
    [
        (((60, 70), (60, 70), (60, 70)), 128**3, "whole"),  # nothing is gained
        (((60, 70), (60, 70), (60, 70)), 40**3, "labels"),
        (((10, 110), (10, 110), (10, 110)), 40**3, "whole"),  # next to nothing is left out
    ],
    ids=["all fits", "small structure", "large structure"],
)
def test_the_rest_of_the_scans_is_left_out_where_that_spares_much_coarsening(box, budget, chosen, caplog):
    pairs = [atlas((128, 128, 128), box=box) for _ in range(2)]
    with caplog.at_level(logging.INFO, "brbs"):
        grid = choose_grid(pairs, [], Settings(), budget)
    whole = choose_grid(pairs, [], Settings(region="whole"), budget)
    assert grid.region == chosen and ("region: around the labels" in caplog.text) == (chosen == "labels")
    if chosen == "whole":
        assert grid == whole
    else:  # 10 mm of the structure, 20 mm on both sides and 20 mm shared by two atlases
        assert np.all(np.array(grid.size) * grid.spacing >= 69.9) and max(grid.size) * grid.spacing[0] < 90
        assert grid.alignment == "affine" and math.prod(whole.spacing) > 5 * math.prod(grid.spacing)
        unregistered = choose_grid(pairs, [], Settings(alignment="none"), budget)
        assert unregistered == replace(whole, alignment="none")  # what is cut out might lie anywhere


def test_few_atlases_leave_more_around_their_labels():
    pair = atlas((160,) * 3, box=((76, 84),) * 3)
    one, five = (choose_grid([pair] * count, [], Settings(), 20**3) for count in (1, 5))
    assert one.region == five.region == "labels"
    assert np.all(np.array(one.size) * one.spacing > np.array(five.size) * five.spacing + 20)
