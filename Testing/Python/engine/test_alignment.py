"""Affine alignment of scans to the first atlas."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from known_scans import phantom, rotation

from brbs.grid import WorkingGrid


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
