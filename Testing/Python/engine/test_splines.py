"""Cubic splines as matrices: what ITK's interpolator gives, and polynomials as they are."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from brbs.splines import refined, refinement, resized, resizing


@pytest.mark.parametrize("factor", [1, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 9, 40])
def test_values_are_met_and_constants_stay(count: int, factor: int) -> None:
    matrix = refinement(count, factor)
    assert matrix.shape == (factor * count, count)
    np.testing.assert_allclose(matrix[factor // 2 :: factor], np.eye(count), atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)


def test_beyond_the_last_value_it_stays() -> None:
    matrix = refinement(7, 4)
    np.testing.assert_allclose(matrix[[0, 1, -2, -1]], np.eye(7)[[0, 0, -1, -1]], atol=1e-6)


def test_a_cubic_curve_is_met_far_from_the_ends() -> None:
    found = refinement(30, 3) @ (np.arange(30.0) - 15) ** 3
    expected = ((np.arange(90) - 1) / 3 - 15) ** 3
    np.testing.assert_allclose(found[36:54], expected[36:54], atol=1e-2)


def test_a_part_of_a_volume_is_what_itk_interpolates() -> None:
    values, factors = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32), (2, 3, 1)
    spacing = [1 / factor for factor in factors[::-1]]
    source, direction = sitk.GetImageFromArray(values), np.eye(3).ravel().tolist()
    expected = sitk.Resample(
        source, (2, 12, 8), sitk.Transform(), sitk.sitkBSpline, (3, 5 / 3, 1.75), spacing, direction, 0.0,
        sitk.sitkFloat32
    )  # fmt: skip
    found = refined(values, (slice(2, 6), slice(2, 6), slice(3, 5)), factors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, sitk.GetArrayFromImage(expected), atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 9, 12])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_another_number_of_voxels_keeps_ends_and_constants(count: int, size: int) -> None:
    matrix = resizing(count, size, torch.device("cpu")).numpy()
    assert matrix.shape == (size, count)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    if size > 1:
        np.testing.assert_allclose(matrix[[0, -1]], np.eye(count)[[0, -1]], atol=1e-6)


def test_a_smooth_volume_survives_fewer_voxels_and_back_nearly_whole() -> None:
    z, y, x = np.meshgrid(*(np.linspace(0, 1, size) for size in (20, 24, 30)), indexing="ij")
    volume = torch.tensor(np.sin(6 * z) + np.cos(7 * y) * x, dtype=torch.float32)[None, None]
    small = resized(volume, (16, 19, 24))
    assert small.shape == (1, 1, 16, 19, 24)
    lost = (resized(small, volume.shape[2:]) - volume).abs()
    assert lost[:, :, 5:-5, 5:-5, 5:-5].max() < 0.005 and lost.max() < 0.05  # ends are mirrored, so slopes end there
    assert resized(volume, volume.shape[2:]) is volume
