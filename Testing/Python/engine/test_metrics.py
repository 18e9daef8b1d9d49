"""Measures of agreement on shapes whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk

from brbs.errors import InputError
from brbs.metrics import compare, dice


def label_map(array, spacing=(1.0, 1.0, 1.0)):
    image = sitk.GetImageFromArray(np.asarray(array, dtype=np.int16))
    image.SetSpacing(spacing)
    return image


def cube(first_x, value=1, side=10, shape=(30, 30, 30)):
    array = np.zeros(shape, dtype=np.int16)
    array[10 : 10 + side, 10 : 10 + side, first_x : first_x + side] = value
    return array


def ball(radius_mm, spacing):
    """A ball round the centre of a 60 mm cube."""
    axes = [(np.arange(round(60 / step)) + 0.5) * step - 30 for step in reversed(spacing)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return label_map(x**2 + y**2 + z**2 <= radius_mm**2, spacing)


def test_shifted_cubes():
    result = compare(label_map(cube(12)), label_map(cube(10)), [1])[0]
    assert result["dice"] == pytest.approx(0.8)
    assert result["hd95_mm"] == pytest.approx(2.0)
    assert result["volume_mm3"] == result["reference_volume_mm3"] == 1000
    assert result["volume_difference_percent"] == 0


def surface_points(array, spacing):
    """Centres (mm) of the voxels that share a face with something else, found neighbour by neighbour."""
    padded = np.pad(array > 0, 1)
    inner = np.logical_and.reduce([np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1)])
    return np.argwhere(padded & ~inner) * np.asarray(spacing)[::-1]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.9, 2.5)])
def test_distances_equal_a_search_over_all_pairs_of_surface_voxels(spacing):
    generator = np.random.default_rng(3)
    arrays = [cube(8 + 2 * i) * (generator.random((30, 30, 30)) > 0.2) for i in range(2)]
    points = [surface_points(array, spacing) for array in arrays]
    pairs = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    result = compare(*(label_map(array, spacing) for array in arrays), [1])[0]
    assert result["assd_mm"] == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)
    assert result["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)


def test_average_distance_of_two_plates():
    plates = np.zeros((2, 9, 9, 9), dtype=np.int16)
    plates[0, 2], plates[1, 5] = 1, 1
    result = compare(label_map(plates[0], (1, 1, 2.5)), label_map(plates[1], (1, 1, 2.5)), [1])[0]
    assert result["assd_mm"] == pytest.approx(7.5)
    assert result["hd95_mm"] == pytest.approx(7.5)
    assert result["dice"] == 0


def test_hausdorff_leaves_out_the_farthest_twentieth():
    array = cube(10)
    with_speck = array.copy()
    with_speck[10, 10, 28] = 1
    result = compare(label_map(with_speck), label_map(array), [1])[0]
    assert result["hd95_mm"] == 0
    assert result["assd_mm"] > 0


def test_hausdorff_is_the_worse_of_both_directions():
    half = cube(10)
    half[:, :, 15:] = 0
    forth = compare(label_map(half), label_map(cube(10)), [1])[0]
    back = compare(label_map(cube(10)), label_map(half), [1])[0]
    assert forth["hd95_mm"] == back["hd95_mm"] == pytest.approx(5.0)
    assert forth["volume_difference_percent"] == pytest.approx(-50)
    assert back["volume_difference_percent"] == pytest.approx(100)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 3.0), (2.0, 1.0, 0.75)])
def test_concentric_spheres_with_anisotropic_voxels(spacing):
    result = compare(ball(20, spacing), ball(15, spacing), [1])[0]
    assert result["assd_mm"] == pytest.approx(5.0, abs=max(spacing) / 2)
    assert result["hd95_mm"] == pytest.approx(5.0, abs=max(spacing))
    assert result["volume_mm3"] == pytest.approx(4 / 3 * math.pi * 20**3, rel=0.03)
    assert result["dice"] == pytest.approx(2 * 15**3 / (20**3 + 15**3), abs=0.02)


def test_structure_at_the_edge_of_the_scan_has_a_surface_there():
    whole = np.ones((5, 5, 5), dtype=np.int16)
    part = np.ones((5, 5, 5), dtype=np.int16)
    part[:, :, 3:] = 0
    result = compare(label_map(part), label_map(whole), [1])[0]
    assert result["hd95_mm"] == pytest.approx(2.0)


def test_thick_surfaces_of_thin_structures_are_at_no_distance_from_themselves():
    array = np.zeros((8, 8, 8), dtype=np.int16)
    array[3:5, 1:7, 1:7] = 1
    result = compare(label_map(array), label_map(array), [1])[0]
    assert (result["dice"], result["hd95_mm"], result["assd_mm"]) == (1, 0, 0)


def test_empty_structures():
    array = cube(10, value=7)
    both, missed, invented = (
        compare(label_map(a), label_map(b), [7])[0]
        for a, b in [(array * 0, array * 0), (array * 0, array), (array, array * 0)]
    )
    assert (both["dice"], both["hd95_mm"], both["assd_mm"], both["volume_difference_percent"]) == (1, 0, 0, 0)
    assert missed["dice"] == invented["dice"] == 0
    assert math.isnan(missed["hd95_mm"]) and math.isnan(missed["assd_mm"]) and math.isnan(invented["hd95_mm"])
    assert missed["volume_difference_percent"] == -100
    assert math.isnan(invented["volume_difference_percent"])


def test_structures_are_told_apart_by_value():
    reference = cube(2, value=3) + cube(15, value=300)
    prediction = cube(2, value=3) + cube(15, value=4)
    results = {row["value"]: row["dice"] for row in compare(label_map(prediction), label_map(reference), [3, 4, 300])}
    assert results == {3: 1, 4: 0, 300: 0}
    assert dice(prediction, reference, [3, 4, 300]) == results


def test_label_maps_on_different_grids_are_refused():
    array = cube(10)
    with pytest.raises(InputError, match="size"):
        compare(label_map(array[1:]), label_map(array), [1])
    with pytest.raises(InputError, match="spacing"):
        compare(label_map(array, (1, 1, 2)), label_map(array), [1])
    with pytest.raises(InputError, match="shape"):
        dice(array[1:], array, [1])
