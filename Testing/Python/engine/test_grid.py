"""The working grid: where voxels end up, and that results come back to where the scan is."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import SimpleITK as sitk

from brbs.alignment import Geometry
from brbs.anisotropy import grid_multiples
from brbs.errors import InputError
from brbs.grid import WorkingGrid, normalise
from brbs.grid_choice import choose_grid
from brbs.restoration import Restoration, restore
from brbs.settings import Settings


def restored_probabilities(grid: WorkingGrid, probabilities: np.ndarray, image: sitk.Image, placement) -> list:
    restoration = Restoration(grid, image, placement, keep_probabilities=True)
    restoration.add(0, probabilities)
    return restoration.probabilities


def rotation(axis, degrees):
    versor = sitk.VersorTransform(axis, math.radians(degrees))
    return np.reshape(versor.GetMatrix(), (3, 3))


DIRECTIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([-1.0, 1.0, 1.0]),
    "permuted": np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "oblique": rotation((1.0, 2.0, -0.5), 23.0) @ np.diag([-1.0, -1.0, 1.0]),
    "oblique, permuted": rotation((0.3, -1.0, 2.0), 17.0)[:, [2, 0, 1]],
}


def scan(array, spacing=(1.0, 1.0, 1.0), direction=None, origin=(-31.5, 12.25, 104.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(np.ravel(np.eye(3) if direction is None else direction).tolist())
    return image


def noise(size, seed=0):
    return np.random.default_rng(seed).uniform(0, 100, size[::-1]).astype(np.float32)


def blank(size, spacing=(1.0, 1.0, 1.0), **where):
    return scan(np.zeros(size[::-1], np.float32), spacing, **where)


def blobs(points, centres=((8, 0, 0), (-9, 6, 4), (0, -10, -6), (3, 9, 9)), widths=(5.0, 4.0, 6.0, 3.5)):
    """Brightness of a lopsided phantom at (..., 3) points in mm."""
    levels = (1.0, 0.6, 0.8, 0.4)
    value = np.zeros(points.shape[:-1])
    for centre, width, level in zip(centres, widths, levels, strict=True):
        value = np.maximum(value, level * (((points - centre) ** 2).sum(-1) < width**2))
    return value


def phantom(size, spacing=(1.0, 1.0, 1.0), matrix=None, shift=(0, 0, 0)):
    """A scan centred on 0 of the phantom seen through `x -> matrix @ x + shift` (world to phantom)."""
    origin = [-(n - 1) / 2 * s for n, s in zip(size, spacing, strict=True)]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), -1)
    world = index * spacing + origin
    value = blobs(world @ (np.eye(3) if matrix is None else matrix).T + shift)
    image = scan(np.ascontiguousarray(value.T.astype(np.float32)), spacing, origin=origin)
    return sitk.DiscreteGaussian(image, 1.0)


def one_hot(classes, count):
    return (classes[None] == np.arange(count)[:, None, None, None]).astype(np.float32)


def assert_same_geometry(result, image):
    assert result.GetSize() == image.GetSize()
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(result, get)(), getattr(image, get)(), atol=1e-6, rtol=0)


# --- there and back --------------------------------------------------------------------------------------------------


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
    np.testing.assert_allclose(sitk.GetArrayFromImage(images[1])[4, 4, 6:9], [0.4, 0.65, 0.9], atol=1e-5)


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


# --- choosing the grid -----------------------------------------------------------------------------------------------


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
        (60_000, lambda s: 0.5 < s[0] < 1.0 == s[1] and s[2] == 5.0),
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


def test_json_brings_the_same_grid_back():
    grid = WorkingGrid((8, 16, 24), (0.5, 1.0, 1 / 3), "affine", "window", offset=(1.5, 0.0, -2.0), region="labels")
    assert WorkingGrid.from_json(grid.to_json()) == grid
    with pytest.raises(InputError, match="colour"):
        WorkingGrid.from_json({**grid.to_json(), "colour": 1})
    with pytest.raises(InputError, match="spacing"):
        WorkingGrid.from_json({k: v for k, v in grid.to_json().items() if k != "spacing"})


# --- affine ----------------------------------------------------------------------------------------------------------


def test_affine_alignment_recovers_a_known_affine():
    """Points of the phantom in the first atlas and in the moved scan meet within a voxel."""
    matrix = rotation((0.2, 0.4, 1.0), 12.0) @ np.diag([1.12, 0.92, 1.05])
    shift = np.array([4.0, -3.0, 2.0])
    first, moved = phantom((48, 48, 40)), phantom((56, 52, 48), matrix=matrix, shift=shift)
    grid = WorkingGrid((48, 48, 40), (1.0, 1.0, 1.0), alignment="affine")
    own = grid.place(first)
    reference = grid.image(grid.sample_image(first, own))
    placement = grid.place(moved, reference)
    stored = grid.image(grid.sample_image(first, own).astype(np.float16))  # as a model keeps it
    centred = grid.place(moved)

    def errors(transform):
        found = []
        for point in ((8, 0, 0), (-9, 6, 4), (0, -10, -6), (3, 9, 9)):
            in_grid = own.GetInverse().TransformPoint(tuple(map(float, point)))
            found.append(matrix @ transform.TransformPoint(in_grid) + shift - point)
        return np.linalg.norm(found, axis=1)

    assert errors(placement).max() < 0.6
    assert errors(grid.place(moved, stored)).max() < 0.6
    assert errors(centred).max() > 2.0  # the centre of mass alone would not do


def test_failed_affine_falls_back_to_the_centre_of_mass_and_says_so(monkeypatch, caplog):
    def absurd(fixed, moving):
        raise RuntimeError("it scales the scan by 0.01 to 1.00")

    monkeypatch.setattr("brbs.grid.register_affine", absurd)
    grid = WorkingGrid((24, 24, 24), (2.0, 2.0, 2.0), alignment="affine")
    image = phantom((48, 48, 40))
    reference = grid.image(grid.sample_image(image, grid.place(image)))
    placement = grid.place(image, reference)
    assert placement.TransformPoint((5.0, 0.0, 0.0)) == grid.place(image).TransformPoint((5.0, 0.0, 0.0))
    assert "0.01" in caplog.text


def test_hopeless_registration_still_gives_a_usable_place():
    """A reference with nothing but one bright corner: no crash, no collapsed or exploded scan."""
    grid = WorkingGrid((24, 24, 24), (2.0, 2.0, 2.0), alignment="affine")
    image = phantom((48, 48, 40))
    reference = np.zeros(grid.shape, np.float32)
    reference[0, 0, 0] = 1
    placement = grid.place(image, grid.image(reference))
    scales = np.linalg.svd(np.reshape(sitk.AffineTransform(placement).GetMatrix(), (3, 3)), compute_uv=False)
    assert scales.min() >= 0.5 and scales.max() <= 2.0
