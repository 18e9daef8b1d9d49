"""The part of the scans that the networks work on: all, or what surrounds the atlases' labels."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from .alignment import box_corners, placed_bounds
from .boxes import box_around, class_boxes
from .grid import SAME_SPACING, WorkingGrid
from .grid_fit import fit_grid
from .overview import Overview
from .settings import Settings

log = logging.getLogger("brbs")

WORTH_CROPPING = 5.0  # times as many voxels a mm^3, for which the region "auto" leaves the rest of the scans out
WIDE_MARGIN, SHARED_MARGIN = 20.0, 20.0  # mm around the labels then; the second shared by the atlases, as few tell less

Pair = tuple[sitk.Image, sitk.Image]  # a scan and its label map


def with_region(
    whole: WorkingGrid,
    atlases: Sequence[Pair],
    spacing: Sequence[float],
    settings: Settings,
    voxel_budget: int,
    thin_stacks: bool,
) -> WorkingGrid:
    """The grid for the part of the scans that the settings ask for or, if they leave it open, that pays.

    What is cut out must lie where the structures are, so the region "auto" takes a part only of scans that are
    registered to the first atlas.

    Args:
        whole: the grid for whole scans.
        atlases: image and label map (0 = background) of each atlas.
        spacing: mm (x, y, z), which the grid has where the budget permits.
        settings: region, region_margin, alignment are used.
        voxel_budget: most voxels the grid may have.
        thin_stacks: whether scans are such, which are hardly to be registered.
    """
    if settings.region == "labels":
        bounds = _label_bounds(whole, atlases, settings.region_margin)
        return _around(whole, bounds, spacing, voxel_budget, settings)
    may_register = settings.alignment in ("auto", "affine") and not thin_stacks
    if settings.region == "whole" or not (may_register and is_coarser(whole, spacing)):
        return whole
    margin = WIDE_MARGIN + SHARED_MARGIN / len(atlases)

    def pays(bounds: tuple[np.ndarray, np.ndarray]) -> bool:
        around = _around(whole, bounds, spacing, voxel_budget, settings)
        return math.prod(whole.spacing) > WORTH_CROPPING * math.prod(around.spacing)

    if not all(pays(_label_bounds(whole, [atlas], margin)) for atlas in atlases):
        return whole  # without having registered any
    registered = replace(whole, alignment="affine")
    bounds = _label_bounds(registered, atlases, margin)
    if not pays(bounds):
        return whole
    log.info("region: around the labels with %.3g mm to spare, for finer voxels; scans are registered", margin)
    return _around(registered, bounds, spacing, voxel_budget, settings)


def is_coarser(grid: WorkingGrid, spacing: Sequence[float]) -> bool:
    """Whether a grid has other voxels than were wished for."""
    return not np.allclose(grid.spacing, spacing, rtol=SAME_SPACING)


def _around(
    whole: WorkingGrid,
    bounds: tuple[np.ndarray, np.ndarray],
    spacing: Sequence[float],
    voxel_budget: int,
    settings: Settings,
) -> WorkingGrid:
    low, high = bounds
    size, fitted = fit_grid(high - low, spacing, voxel_budget, settings.channels)
    offset = tuple(float(value) for value in (low + high) / 2)
    return replace(whole, size=size, spacing=fitted, offset=offset, region="labels")


def _label_bounds(grid: WorkingGrid, atlases: Sequence[Pair], margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (3,), grid frame mm, of all atlases' labels when placed on `grid`, plus a margin as far as scans reach."""
    reference, boxes, scans = None, [], []
    for image, labels in atlases:
        placement = grid.place(image, reference)
        if reference is None and grid.alignment == "affine" and len(atlases) > 1:
            reference = Overview.of(grid, image, placement).image
        first, size = box_around(class_boxes(labels).values())
        last = [start + count - 1 for start, count in zip(first, size)]
        boxes.append(placed_bounds(box_corners(labels, first, last), placement))
        scans.append(placed_bounds(box_corners(image), placement))
    (low, high), (scan_low, scan_high) = (np.array(pairs).transpose(1, 0, 2) for pairs in (boxes, scans))
    return (
        np.maximum(low.min(axis=0) - margin, scan_low.min(axis=0)),
        np.minimum(high.max(axis=0) + margin, scan_high.max(axis=0)),
    )
