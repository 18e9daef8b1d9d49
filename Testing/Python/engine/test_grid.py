"""The working grid: where voxels end up, and that results come back to where the scan is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from known_scans import DIRECTIONS, blank, noise, one_hot, scan

from brbs.alignment import Geometry
from brbs.errors import InputError
from brbs.grid import WorkingGrid, normalise
from brbs.restoration import Restoration, restore


def restored_probabilities(grid: WorkingGrid, probabilities: np.ndarray, image: sitk.Image, placement) -> list:
    restoration = Restoration(grid, image, placement, keep_probabilities=True)
    restoration.add(0, probabilities)
    return restoration.probabilities


def assert_same_geometry(result, image):
    assert result.GetSize() == image.GetSize()
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(result, get)(), getattr(image, get)(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("alignment", ["none", "center-of-mass"])
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
@pytest.mark.parametrize("size", [(9, 12, 7), (10, 11, 16)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 0.7)])
def test_equal_spacing_comes_back_voxel_for_voxel(size, direction, spacing, alignment):
    grid = WorkingGrid((16, 8, 16), spacing, alignment=alignment)
    image = scan(noise(size), spacing, direction)
    labels = scan(np.random.default_rng(1).integers(0, 4, size[::-1], dtype=np.uint8), spacing, direction)
    placement = grid.place(image)
    lattice = grid.lattice(image, placement)

    restored = restore(lattice, one_hot(lattice.sample_labels(labels, placement), 4), image, placement)

    np.testing.assert_array_equal(sitk.GetArrayFromImage(restored), sitk.GetArrayFromImage(labels))
    assert_same_geometry(restored, image)
    sampled = lattice.sample_image(image, placement)
    expected = np.sort(normalise(noise(size)).ravel())
    np.testing.assert_allclose(np.sort(sampled.ravel())[-expected.size :], expected, atol=1e-5)  # nothing is blurred


def test_largest_probability_wins_and_ties_go_to_the_first():
    image = blank((8, 8, 8))
    grid = WorkingGrid((8, 8, 8), (1.0, 1.0, 1.0))
    probabilities = np.random.default_rng(2).dirichlet([1, 1, 1], (8, 8, 8)).transpose(3, 0, 1, 2).astype(np.float32)
    probabilities[:, 0] = np.array([0.2, 0.4, 0.4], np.float32)[:, None, None]
    restored = restore(grid, probabilities, image, grid.place(image))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(restored), probabilities.argmax(0))


def test_probabilities_are_interpolated_before_the_maximum_is_taken():
    """Halfway between two voxels where class 0 wins barely and class 1 wins clearly, class 1 wins."""
    image = blank((15, 8, 8), (0.5, 1.0, 1.0))
    grid = WorkingGrid((8, 8, 8), (1.0, 1.0, 1.0))
    background = np.where(np.arange(8) < 4, 0.6, 0.1)
    probabilities = np.broadcast_to([background, 1 - background], (8, 8, 2, 8)).transpose(2, 0, 1, 3)
    placement = grid.place(image)
    restored = sitk.GetArrayFromImage(restore(grid, probabilities.astype(np.float32), image, placement))
    np.testing.assert_array_equal(restored[4, 4], [0] * 7 + [1] * 8)
    images = restored_probabilities(grid, probabilities.astype(np.float32), image, placement)
    before, between, after = sitk.GetArrayFromImage(images[1])[4, 4, 6:9]
    assert (before, after) == pytest.approx((0.4, 0.9), abs=1e-4) and 0.5 < between < 0.9


def test_outside_the_grid_is_background():
    image = blank((20, 20, 20))
    grid = WorkingGrid((8, 8, 8), (1.0, 1.0, 1.0))
    probabilities = one_hot(np.ones((8, 8, 8)), 2)
    placement = grid.place(image)
    inside = np.zeros((20, 20, 20))
    inside[6:14, 6:14, 6:14] = 1
    np.testing.assert_array_equal(sitk.GetArrayFromImage(restore(grid, probabilities, image, placement)), inside)
    background, structure = restored_probabilities(grid, probabilities, image, placement)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(background), 1 - inside)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(structure), inside)
    assert_same_geometry(structure, image)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_a_ball_survives_anisotropic_spacing(direction):
    """A label ball of a 0.6 x 0.8 x 2.5 mm scan, by way of a 1 mm grid, keeps centre and volume."""
    size, spacing = (60, 45, 15), (0.6, 0.8, 2.5)
    image = blank(size, spacing, direction=direction)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), -1)
    distance = np.linalg.norm((index - (np.array(size) - 1) / 2) * spacing - [3.0, -2.0, 1.0], axis=-1)
    ball = (distance.T < 9).astype(np.uint8)
    labels = scan(ball, spacing, direction)
    grid = WorkingGrid((40, 40, 40), (1.0, 1.0, 1.0))
    placement = grid.place(image)
    sampled = grid.sample_labels(labels, placement)
    assert abs(sampled.sum() / (4 / 3 * math.pi * 9**3) - 1) < 0.03
    restored = sitk.GetArrayFromImage(restore(grid, one_hot(sampled, 2), image, placement))
    assert 2 * (restored * ball).sum() / (restored.sum() + ball.sum()) > 0.97


@pytest.mark.parametrize(("radius", "coarse"), [(5.0, 4.2), (3.0, 2.0)])
def test_small_balls_keep_their_volume_on_a_much_coarser_grid(radius: float, coarse: float) -> None:
    """Labels that shrank would teach the network to find too little."""
    size, spacing, voxels = (60, 60, 60), (0.8, 0.8, 0.8), round(48 / coarse)
    grid, found = WorkingGrid((voxels,) * 3, (coarse,) * 3), []
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), -1)
    for centre in np.random.default_rng(0).uniform(-3, 3, (20, 3)):
        ball = np.linalg.norm((index - (np.array(size) - 1) / 2) * spacing - centre, axis=-1).T < radius
        labels = scan(ball.astype(np.uint8), spacing)
        sampled = grid.sample_labels(labels, grid.place(blank(size, spacing)))
        found.append(sampled.sum() * coarse**3 / (4 / 3 * math.pi * radius**3))
    assert min(found) > 0 and np.mean(found) == pytest.approx(1, abs=0.12)


# --- a point stays where it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_a_physical_point_stays_where_it_is(direction):
    """The brightest grid voxel, sent through the placement, is the bright blob's place in the world."""
    image = blank((40, 32, 24), (0.8, 1.1, 1.5), direction=direction)
    target = np.array(image.TransformContinuousIndexToPhysicalPoint((27.3, 11.6, 9.2)))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()), indexing="ij"), -1)
    world = index * image.GetSpacing() @ np.array(direction).T + image.GetOrigin()
    array = np.exp(-((world - target) ** 2).sum(-1) / (2 * 3.0**2)).T.astype(np.float32)
    image = scan(np.ascontiguousarray(array), image.GetSpacing(), direction)
    grid = WorkingGrid((40, 40, 40), (1.0, 1.0, 1.0))
    placement = grid.place(image)
    sampled = grid.sample_image(image, placement)
    sampled[sampled < 0.3] = 0
    z, y, x = (np.indices(sampled.shape) * sampled).sum((1, 2, 3)) / sampled.sum()
    found = placement.TransformPoint(tuple(np.array(grid.origin) + np.array([x, y, z]) * grid.spacing))
    np.testing.assert_allclose(found, target, atol=0.05)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_grid_axes_run_left_back_and_head(direction):
    grid = WorkingGrid((8, 8, 8), (1.0, 1.0, 1.0))
    placement = grid.place(blank((12, 14, 16), (1.0, 1.2, 1.4), direction=direction))
    matrix = np.reshape(sitk.AffineTransform(placement).GetMatrix(), (3, 3))
    assert np.all(np.diag(matrix) > 0.8)  # up to the scan's own obliqueness
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)


def test_centre_of_mass_finds_the_bright_part_in_a_large_dark_scan():
    array = np.random.default_rng(3).uniform(0, 8, (40, 60, 50)).astype(np.float32)
    array[4:16, 36:48, 28:40] += 100
    image = scan(array, (2.0, 2.0, 2.0))
    grid = WorkingGrid((12, 12, 12), (2.0, 2.0, 2.0), alignment="center-of-mass")
    centre = grid.place(image).TransformPoint((0.0, 0.0, 0.0))
    expected = image.TransformContinuousIndexToPhysicalPoint((33.5, 41.5, 9.5))
    np.testing.assert_allclose(centre, expected, atol=1.01)  # half a voxel of snapping


def test_fine_scan_is_smoothed_not_picked_from():
    """Every fourth voxel of a checkerboard is bright, yet its mean is what a four times coarser grid must show."""
    board = (np.indices((48, 48, 48)).sum(0) % 2).astype(np.float32)
    image = scan(board, (0.25, 0.25, 0.25))
    grid = WorkingGrid((8, 8, 8), (1.0, 1.0, 1.0))
    sampled = grid.sample_image(image, grid.place(image))
    np.testing.assert_allclose(sampled, 0.5, atol=0.02)


# --- lattice ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [DIRECTIONS["LPS"], DIRECTIONS["oblique, permuted"]], ids=["LPS", "oblique"])
@pytest.mark.parametrize("size", [(33, 20, 9), (8, 50, 31)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 1.3, 2.0)])
def test_lattice_covers_scan_and_grid_and_keeps_the_grids_voxels(size, spacing, direction):
    grid = WorkingGrid((16, 16, 16), (1.0, 1.0, 1.0), offset=(1.5, -2.25, 0.5))
    image = blank(size, spacing, direction=direction)
    placement = grid.place(image)
    lattice = grid.lattice(image, placement)

    to_index = (np.array(grid.origin) - lattice.origin) / grid.spacing
    np.testing.assert_allclose(to_index, np.round(to_index), atol=1e-9)
    assert np.all(np.round(to_index) >= 0)
    assert np.all(np.round(to_index) + grid.size <= lattice.size)
    everywhere = restore(lattice, one_hot(np.ones(lattice.shape), 2), image, placement)
    assert sitk.GetArrayFromImage(everywhere).all()
    needed = np.maximum(np.ceil(Geometry.of(image).extent), grid.size)
    assert np.all(lattice.size <= needed + 4)  # no larger than it must be, the grid's offset and rounding apart


def test_lattice_of_a_region_is_the_region():
    grid = WorkingGrid((8, 8, 8), (1.0, 1.0, 1.0), region="labels")
    image = blank((40, 40, 40))
    assert grid.lattice(image, grid.place(image)) == grid


# --- intensity -------------------------------------------------------------------------------------------------------


def test_scale_of_intensities_does_not_matter():
    array = noise((20, 20, 20))
    grid = WorkingGrid((24, 24, 24), (1.0, 1.0, 1.0))
    small, large = (grid.sample_image(image, grid.place(image)) for image in (scan(array / 1000), scan(array * 1000)))
    np.testing.assert_allclose(small, large, atol=1e-5)
    assert small.max() == 1 and np.unique(small).size > 1000


def test_normalise_clips_at_percentiles_or_window():
    array = np.arange(1001, dtype=np.float32)
    np.testing.assert_allclose(normalise(array, percentiles=(10, 90))[[0, 100, 500, 900, 1000]], [0, 0, 0.5, 1, 1])
    windowed = normalise(np.float32([-1000, 0, 512, 4000]), "window", window=(0, 2048))
    np.testing.assert_allclose(windowed, [0, 0, 0.25, 1])
    assert windowed.dtype == np.float32
    with pytest.raises(ValueError, match="sigma"):
        normalise(array, "sigma")


def test_small_bright_object_in_an_empty_scan_is_not_lost():
    """Fewer bright voxels than the percentiles cut off: the full range is used."""
    array = np.zeros((20, 20, 20), np.float32)
    array[10, 10, 8:12] = [1, 2, 3, 4]
    np.testing.assert_allclose(normalise(array)[10, 10, 8:12], [0.25, 0.5, 0.75, 1.0])


def test_json_brings_the_same_grid_back():
    grid = WorkingGrid((8, 16, 24), (0.5, 1.0, 1 / 3), "affine", "window", offset=(1.5, 0.0, -2.0), region="labels")
    assert WorkingGrid.from_json(grid.to_json()) == grid
    with pytest.raises(InputError, match="colour"):
        WorkingGrid.from_json({**grid.to_json(), "colour": 1})
    with pytest.raises(InputError, match="spacing"):
        WorkingGrid.from_json({k: v for k, v in grid.to_json().items() if k != "spacing"})
