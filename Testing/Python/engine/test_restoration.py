"""Slab by slab onto the scan's voxels: the same as all at once, whatever lies between scan and lattice.

And brick by brick: the same as from all classes everywhere, though most are looked at in few places. Splines are made
of the voxels nearby alone, so the same means: but for what rounds to nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from known_scans import DIRECTIONS
from tiny_model import smooth_noise

from brbs.grid import WorkingGrid
from brbs.restoration import Restoration, restore

GRID = WorkingGrid((14, 18, 22), (1.5, 1.2, 2.0))
OBLIQUE = sitk.VersorTransform((1.0, 2.0, -0.5), 0.7).GetMatrix()
STRAIGHT, FLIPPED = (1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, 1, 0, 0, 0, -1)
PERMUTED = (0, 0, -1, 1, 0, 0, 0, -1, 0)
TILTED = np.array([[0.9, 0.2, -0.1], [-0.15, 1.1, 0.3], [0.2, -0.25, 1.05]])


def scan(direction, size=(19, 23, 17), spacing=(1.3, 1.1, 2.4)) -> sitk.Image:
    """A scan whose middle lies at (3, -4, 5) mm."""
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    middle = image.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in size])
    image.SetOrigin(np.array([3.0, -4.0, 5.0]) - middle)
    return image


def placement(matrix: np.ndarray) -> sitk.AffineTransform:
    """From the grid frame to the scan's space: the middles meet but for half a voxel or so."""
    # No round numbers: they put voxels on the lattice's very border, where rounding decides what is outside.
    return sitk.AffineTransform(matrix.ravel().tolist(), (3.6137, -4.3071, 5.2219))


def restoration(parts: list[int], image: sitk.Image, transform: sitk.Transform) -> Restoration:
    probabilities = smooth_noise((1, 4, *GRID.shape), 3)[0].softmax(0).numpy()
    made = Restoration(GRID, image, transform, keep_probabilities=True)
    for first, last in zip([0, *parts], [*parts, GRID.size[2]]):
        made.add(first, probabilities[:, first:last])
    return made


@pytest.mark.parametrize("parts", [[1, 2, 3, 9], [11], list(range(1, 22))], ids=["uneven", "two", "single planes"])
@pytest.mark.parametrize(
    "direction", [STRAIGHT, FLIPPED, PERMUTED, OBLIQUE], ids=["straight", "flipped", "permuted", "oblique"]
)
@pytest.mark.parametrize("matrix", [np.eye(3), TILTED], ids=["rigid", "affine"])
def test_slabs_give_what_the_whole_gives(matrix, direction, parts) -> None:
    image = scan(direction)
    rotation = np.reshape(direction, (3, 3)) if direction == OBLIQUE else np.eye(3)
    transform = placement(rotation @ matrix)
    whole, pieces = (restoration(cuts, image, transform) for cuts in ([], parts))
    expected = sitk.GetArrayFromImage(whole.classes)
    assert len(np.unique(expected)) == 4  # something to be mistaken about
    assert_same_classes(pieces.classes, whole)
    for one, other in zip(whole.probabilities, pieces.probabilities, strict=True):
        np.testing.assert_allclose(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other), atol=1e-4)


def assert_same_classes(found: sitk.Image, expected: Restoration) -> None:
    """Wherever one of them is clearly more probable than the next."""
    second, first = np.sort([sitk.GetArrayFromImage(values) for values in expected.probabilities], axis=0)[-2:]
    clear = first - second > 1e-3
    assert clear.mean() > 0.5
    arrays = (sitk.GetArrayFromImage(classes)[clear] for classes in (found, expected.classes))
    np.testing.assert_array_equal(*arrays)


def test_logarithms_are_interpolated_by_splines_before_comparison() -> None:
    image, transform = scan(OBLIQUE, (45, 40, 60), (0.45, 0.5, 0.4)), placement(TILTED)
    logs = smooth_noise((1, 4, *GRID.shape), 3)[0].log_softmax(0).numpy()
    found = restoration([5], image, transform)
    expected = []
    for index, values in enumerate(logs):
        outside = 0.0 if index == 0 else -100.0
        spline = sitk.Resample(
            GRID.image(values), image, transform.GetInverse(), sitk.sitkBSpline, outside, sitk.sitkFloat32
        )
        expected.append(np.exp(sitk.GetArrayFromImage(spline)))
    for values, probabilities in zip(found.probabilities, expected / np.sum(expected, axis=0), strict=True):
        np.testing.assert_allclose(sitk.GetArrayFromImage(values), probabilities, atol=0.05)
    assert found.classes.GetOrigin() == image.GetOrigin() and found.classes.GetDirection() == image.GetDirection()


def test_a_scan_beside_the_lattice_is_background() -> None:
    image = scan(STRAIGHT)
    image.SetOrigin((500.0, 0.0, 900.0))
    found = restoration([7], image, placement(np.eye(3)))
    assert not sitk.GetArrayFromImage(found.classes).any()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.probabilities[0]), 1)


def soft(count: int) -> np.ndarray:
    """Probabilities that are nowhere 0, with structures of a few voxels."""
    return (4 * smooth_noise((1, count, *GRID.shape), 5)[0]).softmax(0).numpy()


def votes(count: int) -> np.ndarray:
    """Of eight voters that differ: classes are often equally probable."""
    random = np.random.default_rng(count)
    few = random.multinomial(8, np.full(count, 1 / count), (11, 9, 7)) / 8
    return few.repeat(2, 0).repeat(2, 1).repeat(2, 2).transpose(3, 0, 1, 2)


def unlike_probabilities(count: int) -> np.ndarray:
    """Sums from 0 to 1.9, and 16 bits."""
    sums = np.random.default_rng(count).choice([0.0, 0.3, 1.0, 1.9], GRID.shape)
    return (soft(count) * sums).astype(np.float16)


@pytest.mark.parametrize("count", [2, 5, 41])
@pytest.mark.parametrize("probabilities", [soft, votes, unlike_probabilities])
@pytest.mark.parametrize(
    ("size", "spacing", "matrix", "parts"),
    [
        ((60, 53, 17), (0.4, 0.5, 2.4), TILTED, [5, 6]),
        ((50, 19, 3), (0.5, 1.3, 9.0), TILTED, []),
        ((9, 51, 55), (3.5, 0.5, 0.9), np.eye(3), [11]),
    ],
    ids=["affine, slabs", "thick slices", "sagittal, slabs"],
)
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_classes_left_out_would_win_nowhere(direction, size, spacing, matrix, parts, probabilities, count) -> None:
    image, planes = scan(direction.ravel().tolist(), size, spacing), probabilities(count)
    bricks, everything = (Restoration(GRID, image, placement(matrix), keep) for keep in (False, True))
    for made in (bricks, everything):
        for first, last in zip([0, *parts], [*parts, GRID.size[2]]):
            made.add(first, planes[:, first:last])
    assert_same_classes(bricks.classes, everything)
    assert sitk.GetArrayFromImage(everything.classes).any()


def test_small_structures_come_back_from_voxels_as_large_as_they_are() -> None:
    """A network that tells the share of each coarse voxel; means of neighbours would leave nothing of some balls."""
    coarse, fine, radius = 5, WorkingGrid((60, 60, 60), (1.0, 1.0, 1.0)), 4.0
    grid, overlaps = WorkingGrid((12, 12, 12), (5.0, 5.0, 5.0)), []
    image = fine.image(np.zeros(fine.shape, np.float32))
    index = np.stack(np.meshgrid(*(np.arange(60),) * 3, indexing="ij"), -1)
    for centre in np.random.default_rng(0).uniform(25, 35, (20, 3)):
        ball = np.linalg.norm(index - centre, axis=-1) < radius
        share = ball.reshape(12, coarse, 12, coarse, 12, coarse).mean((1, 3, 5)).astype(np.float32)
        found = sitk.GetArrayFromImage(restore(grid, np.stack([1 - share, share]), image, grid.place(image)))
        overlaps.append(2 * (found * ball).sum() / (found.sum() + ball.sum()))
    assert np.mean(overlaps) > 0.6 and min(overlaps) > 0.3


def test_voxels_of_the_lattice_itself_keep_their_probabilities() -> None:
    image = scan(STRAIGHT, GRID.size, GRID.spacing)
    probabilities = soft(4)
    found = Restoration(GRID, image, GRID.place(image), keep_probabilities=True)
    found.add(0, probabilities)
    for values, expected in zip(found.probabilities, probabilities, strict=True):
        np.testing.assert_allclose(sitk.GetArrayFromImage(values), expected, atol=1e-3)


def test_each_structure_is_looked_for_only_where_it_may_be(monkeypatch) -> None:
    grid, count, looked_at = WorkingGrid((40, 40, 40), (4.0, 4.0, 4.0)), 28, []
    classes = np.zeros(grid.shape, int)
    corners = np.stack(np.meshgrid(*[(4, 18, 32)] * 3), -1).reshape(-1, 3)
    for index, (z, y, x) in enumerate(corners.tolist(), 1):
        classes[z : z + 3, y : y + 3, x : x + 3] = index
    planes = (np.arange(count)[:, None, None, None] == classes) * np.float32(0.9) + np.float32(0.1 / count)
    image = scan(STRAIGHT, (160, 160, 160), (1.0, 1.0, 1.0))
    resample = sitk.Resample

    def watched(source, size, *rest):
        looked_at.append(np.prod(size))
        return resample(source, size, *rest)

    monkeypatch.setattr(sitk, "Resample", watched)
    found = restore(grid, planes, image, grid.place(image))
    assert set(np.unique(sitk.GetArrayFromImage(found))) == set(range(count))
    assert sum(looked_at) < 4 * image.GetNumberOfPixels()
