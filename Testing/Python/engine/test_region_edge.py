"""Structures that may go on beyond the part of a scan that a model works on."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_model import brightness_classes, tiny_bundle

from brbs.grid import WorkingGrid
from brbs.predictor import Predictor

SIZE = (24, 24, 24)


def found_in(box: tuple[slice, slice, slice], scan_shape: tuple[int, int, int], region: str) -> tuple[str, ...]:
    """What may be cut off of a scan that is bright in a box (z, y, x), seen in the middle 24 mm."""
    values = np.zeros(scan_shape, np.float32)
    values[box] = 1
    grid = WorkingGrid(SIZE, (1.0, 1.0, 1.0), intensity="window", window=(0.0, 1.0), region=region)
    predictor = Predictor(tiny_bundle(grid=grid), torch.device("cpu"))
    predictor.network = brightness_classes
    return predictor.segment(sitk.GetImageFromArray(values)).cut_off


@pytest.mark.parametrize(
    ("box", "shape", "cut"),
    [
        ((slice(15, 25),) * 3, (40, 40, 40), False),  # well within
        ((slice(15, 25), slice(15, 25), slice(28, 36)), (40, 40, 40), True),  # out at the left
        ((slice(0, 12), slice(15, 25), slice(15, 25)), (40, 40, 40), True),  # out at the feet
        ((slice(0, 8), slice(15, 25), slice(15, 25)), (40, 40, 40), False),  # outside altogether: not seen
        ((slice(0, 24), slice(15, 25), slice(15, 25)), (24, 40, 40), False),  # there the scan ends, too
    ],
)
def test_what_reaches_a_face_behind_which_the_scan_goes_on_is_told(box, shape, cut):
    assert bool(found_in(box, shape, "labels")) == cut
    assert found_in(box, shape, "whole") == ()
