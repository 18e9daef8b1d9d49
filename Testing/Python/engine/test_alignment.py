"""Affine alignment of scans to the first atlas."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from known_scans import phantom, rotation, scan

from brbs.alignment import SCALE_LIMITS, split_affine
from brbs.errors import naming
from brbs.grid import WorkingGrid

WHOLE = (0, 48)  # planes of the body below, 4 mm wide; its middle is the origin of the world
TURNED = rotation((0.3, 1.0, 0.2), 5.0) @ np.diag([1.08, 0.95, 1.04])


def body(planes: tuple[int, int] = WHOLE, matrix: np.ndarray | None = None, stretch: float = 1.0) -> sitk.Image:
    """So many planes of a long body with organs, seen through `x -> matrix @ x` (world to body), then enlarged."""
    size, spacing = np.array([32, 28, WHOLE[1]]), 4.0
    axes = [(np.arange(n) - (n - 1) / 2) * spacing for n in size]
    world = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    x, y, z = np.moveaxis(world if matrix is None else world @ matrix.T, -1, 0)
    value = 0.3 * ((x / 54) ** 2 + (y / 44) ** 2 < 1)
    organs = ((20, 10, 70, 20, 1.0), (-22, -8, 42, 17, 0.6), (15, -14, 12, 22, 0.8), (-20, 12, -24, 24, 0.9))
    organs += ((22, 8, -48, 16, 0.5), (-8, -16, -74, 18, 1.0), (0, 24, 0, 9, 0.7))
    for *centre, radius, level in organs:
        value[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2] = level
    value += np.random.default_rng(planes[0]).uniform(0.01, 0.06, value.shape)  # air of a scanner is never quite 0
    image = scan(np.ascontiguousarray(value.T[slice(*planes)].astype(np.float32)), (spacing * stretch,) * 3)
    image.SetOrigin([float(axis[0]) * stretch for axis in axes[:2]] + [float(axes[2][planes[0]]) * stretch])
    return image


def apart(atlas: tuple[int, int], shown: tuple[int, int]) -> float:
    """How far from where it belongs anything that both scans show ends up on the grid of a whole body, mm."""
    grid = WorkingGrid((32, 28, 48), (4.0, 4.0, 4.0), alignment="affine")
    first = body(atlas)
    own = grid.place(first)
    placement = grid.place(body(shown, TURNED), grid.image(grid.sample_image(first, own)))
    middle = WHOLE[1] / 2
    low, high = ((pick(pair) - middle) * 4 for pick, pair in ((max, (atlas[0], shown[0])), (min, (atlas[1], shown[1]))))
    points = np.stack(np.meshgrid((-30, 30), (-25, 25), (low + 8, high - 8)), -1).reshape(-1, 3).astype(float)
    placed = [placement.GetInverse().TransformPoint(point) for point in (points @ np.linalg.inv(TURNED).T).tolist()]
    wanted = [own.GetInverse().TransformPoint(point) for point in points.tolist()]
    return float(np.linalg.norm(np.array(placed) - wanted, axis=1).max())


@pytest.mark.parametrize("shown", [WHOLE, (19, 48), (0, 29), (12, 36), (29, 48), (0, 19)], ids=str)
def test_scan_of_a_part_is_placed_where_it_belongs(shown: tuple[int, int]) -> None:
    """Cut off at either end or at both, a scan lies within two voxels of the same anatomy in the first atlas."""
    assert apart(WHOLE, shown) < 8


@pytest.mark.parametrize("atlas", [(19, 48), (0, 24), (29, 48)], ids=str)
def test_scan_is_placed_on_an_atlas_that_shows_a_part(atlas: tuple[int, int]) -> None:
    """What pads the first atlas on the grid is not taken for something that the scan must show."""
    assert apart(atlas, WHOLE) < 8


def placed_when_enlarged(stretch: float) -> tuple[sitk.AffineTransform, sitk.AffineTransform]:
    """Where a body of another size is placed, and where by its centre of mass alone."""
    grid = WorkingGrid((32, 28, 48), (4.0, 4.0, 4.0), alignment="affine")
    first, other = body(), body(stretch=stretch)
    return grid.place(other, grid.image(grid.sample_image(first, grid.place(first)))), grid.place(other)


def test_a_child_is_stretched_to_a_grown_up() -> None:
    scales = np.linalg.svd(split_affine(placed_when_enlarged(0.65)[0])[0], compute_uv=False)
    np.testing.assert_allclose(scales, 0.65, atol=0.05)


def test_stretch_beyond_what_patients_differ_by_is_refused(caplog) -> None:
    placement, centred = placed_when_enlarged(0.53)
    assert placement.TransformPoint((50.0, 30.0, -70.0)) == centred.TransformPoint((50.0, 30.0, -70.0))
    assert "it scales the scan by 0.5" in caplog.text


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
    def absurd(reference, scan):
        raise RuntimeError("it scales the scan by 0.01 to 1.00")

    monkeypatch.setattr("brbs.grid.register_affine", absurd)
    grid = WorkingGrid((24, 24, 24), (2.0, 2.0, 2.0), alignment="affine")
    image = phantom((48, 48, 40))
    reference = grid.image(grid.sample_image(image, grid.place(image)))
    with naming("Kopf ä.nrrd"):
        placement = grid.place(image, reference)
    assert placement.TransformPoint((5.0, 0.0, 0.0)) == grid.place(image).TransformPoint((5.0, 0.0, 0.0))
    assert "Kopf ä.nrrd: could not be aligned" in caplog.text and "0.01" in caplog.text and "check that" in caplog.text
    caplog.clear()
    grid.place(image, reference)
    assert "Kopf" not in caplog.text and "a scan: could not be aligned" in caplog.text


def test_hopeless_registration_still_gives_a_usable_place():
    """A reference with nothing but one bright corner: no crash, no collapsed or exploded scan."""
    grid = WorkingGrid((24, 24, 24), (2.0, 2.0, 2.0), alignment="affine")
    image = phantom((48, 48, 40))
    reference = np.zeros(grid.shape, np.float32)
    reference[0, 0, 0] = 1
    placement = grid.place(image, grid.image(reference))
    scales = np.linalg.svd(np.reshape(sitk.AffineTransform(placement).GetMatrix(), (3, 3)), compute_uv=False)
    assert scales.min() >= SCALE_LIMITS[0] and scales.max() <= SCALE_LIMITS[1]
