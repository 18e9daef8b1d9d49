"""Slab by slab onto the scan's voxels: the same as all at once, whatever lies between scan and lattice."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import smooth_noise

from brbs.grid import WorkingGrid
from brbs.restoration import Restoration

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
    return sitk.AffineTransform(matrix.ravel().tolist(), (3.6, -4.3, 5.2))


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
    np.testing.assert_array_equal(sitk.GetArrayFromImage(pieces.classes), expected)
    for one, other in zip(whole.probabilities, pieces.probabilities, strict=True):
        np.testing.assert_allclose(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other), atol=1e-6)


def test_what_the_whole_gives_is_linear_interpolation_before_comparison() -> None:
    image, transform = scan(OBLIQUE), placement(TILTED)
    found = restoration([5], image, transform)
    probabilities = smooth_noise((1, 4, *GRID.shape), 3)[0].softmax(0).numpy()
    for index, values in enumerate(probabilities):
        source = GRID.image(values)
        expected = sitk.Resample(
            source, image, transform.GetInverse(), sitk.sitkLinear, float(index == 0), sitk.sitkFloat32
        )
        np.testing.assert_allclose(
            sitk.GetArrayFromImage(found.probabilities[index]), sitk.GetArrayFromImage(expected), atol=1e-6
        )
    assert found.classes.GetOrigin() == image.GetOrigin() and found.classes.GetDirection() == image.GetDirection()


def test_a_scan_beside_the_lattice_is_background() -> None:
    image = scan(STRAIGHT)
    image.SetOrigin((500.0, 0.0, 900.0))
    found = restoration([7], image, placement(np.eye(3)))
    assert not sitk.GetArrayFromImage(found.classes).any()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.probabilities[0]), 1)
