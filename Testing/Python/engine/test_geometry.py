"""Whatever a scan's orientation, spacing, size and format: its label map lies in the same place of the patient."""

from __future__ import annotations

import tempfile
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as some
from tiny_model import brightness_classes, tiny_bundle
from tiny_study import on_grid

from brbs.grid import WorkingGrid
from brbs.predictor import Predictor
from brbs.volumes import read_image, read_label_map, write_image, write_label_map

AXES = [np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha")

directions = some.sampled_from(AXES)
steps = some.floats(0.1, 10)
sizes = some.tuples(*[some.integers(4, 40)] * 3)
formats = some.sampled_from(FORMATS)
few = settings(max_examples=50, deadline=None, derandomize=True, database=None, phases=[Phase.generate])


@few
@given(directions, some.tuples(steps, steps, steps), sizes, formats, some.data())
def test_flipped_and_permuted_axes(axes, spacing, size, suffix, data) -> None:
    grid = WorkingGrid(size, tuple(np.abs(axes) @ spacing), intensity="window", window=(0.0, 1.0))
    overlays(axes, spacing, size, suffix, data, grid)


@few
@given(directions, some.tuples(*[some.floats(-3, 3)] * 3), steps, sizes, formats, some.data())
def test_turned_axes(axes, turn, step, size, suffix, data) -> None:
    rotation = np.reshape(sitk.Euler3DTransform((0, 0, 0), *turn).GetMatrix(), (3, 3))
    grid = WorkingGrid((24, 24, 24), (step, step, step), intensity="window", window=(0.0, 1.0))
    overlays(rotation @ axes, (step, step, step), size, suffix, data, grid)


@few
@given(
    directions, *[some.tuples(*[some.floats(*limits)] * 3) for limits in ((-3, 3), (0.7, 2.5))],
    some.tuples(*[some.integers(4, 14)] * 3), formats, some.data(),
)  # fmt: skip
def test_turned_axes_of_unlike_steps(axes, turn, spacing, size, suffix, data) -> None:
    rotation = np.reshape(sitk.Euler3DTransform((0, 0, 0), *turn).GetMatrix(), (3, 3))
    grid = WorkingGrid((40, 40, 40), (0.6, 0.6, 0.6), intensity="window", window=(0.0, 1.0))
    overlays(rotation @ axes, spacing, size, suffix, data, grid)


@pytest.mark.parametrize("sine", [5e-324, 1e-200, 1e-14])
def test_next_to_nothing_is_nothing(sine: float, tmp_path: Path) -> None:
    """Of such directions ITK's own inverse holds NaN, or it warns of them."""
    scan = on_grid(np.random.default_rng(0).random((5, 6, 7), np.float32))
    scan.SetDirection((1, sine, 0, -sine, 1, 0, 0, 0, 1))
    write_image(scan, tmp_path / "scan.nrrd")
    read = read_image(tmp_path / "scan.nrrd")
    assert read.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    there = read.TransformPhysicalPointToContinuousIndex(scan.TransformIndexToPhysicalPoint((3, 2, 1)))
    np.testing.assert_allclose(there, (3, 2, 1), atol=1e-6)


def overlays(direction, spacing, size, suffix, data, grid: WorkingGrid) -> None:
    """Whether a marked cube of 3 voxels is found where it was, within half a voxel."""
    corner = [data.draw(some.integers(0, edge - 3), label="corner") for edge in size]
    array = np.zeros(size[::-1], np.float32)
    x, y, z = corner
    array[z : z + 3, y : y + 3, x : x + 3] = 1
    scan = sitk.GetImageFromArray(array)
    scan.SetSpacing(spacing)
    scan.SetOrigin((-31.5, 112.25, 1204.0))
    scan.SetDirection(direction.ravel())
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder, f"scan{suffix}"), Path(folder, f"labels{suffix}")
        write_image(scan, path)
        write_label_map(segmented(path, grid), result)
        labels = read_label_map(result)
    found = np.argwhere(sitk.GetArrayViewFromImage(labels)).mean(axis=0)[::-1]
    middle = scan.TransformIndexToPhysicalPoint([edge + 1 for edge in corner])
    off = np.subtract(labels.TransformContinuousIndexToPhysicalPoint(found.tolist()), middle)
    np.testing.assert_allclose(direction.T @ off / spacing, 0, atol=0.5)


def segmented(path: Path, grid: WorkingGrid) -> sitk.Image:
    """By brightness."""
    predictor = Predictor(tiny_bundle(grid=grid), torch.device("cpu"))
    predictor.network = brightness_classes
    return predictor.segment(read_image(path)).labels
