"""Choosing the working grid of a study: spacing, size, alignment and region."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from .alignment import Geometry, box_corners, placed_bounds
from .anisotropy import grid_multiples
from .grid import SAME_SPACING, WorkingGrid
from .settings import Settings

log = logging.getLogger("brbs")

SMALLEST_BUDGET, LARGEST_BUDGET = 32**3, 160**3  # voxels of a working grid
SMALLEST_GRID = 8**3
FEWEST_VOXELS = 4  # of an axis, however few slices there are
CPU_BUDGET = 96**3  # beyond this a step takes many seconds on a CPU

CT_AIR = -900.0  # Hounsfield units; scans that reach below are CT
CT_MARGIN = 200.0  # at least, around the structures' values, so that fat, muscle and bone around them are told apart
LEAST_HOUNSFIELD = -1000.0  # air; what is below is padding

WORTH_CROPPING = 3.0  # times as many voxels a mm^3, for which the region "auto" leaves the rest of the scans out
WIDE_MARGIN, SHARED_MARGIN = 20.0, 20.0  # mm around the labels then; the second shared by the atlases, as few tell less

_MAY_DIFFER = {"none": 1.5, "center-of-mass": 2.5}  # ratio of fields of view up to which an alignment is enough
_MAY_LIE_APART = 25.0  # mm by which the middles of the same anatomy may lie apart before only an affine one is enough


def choose_grid(
    atlases: Sequence[tuple[sitk.Image, sitk.Image]],
    unlabeled: Sequence[Geometry],
    settings: Settings,
    voxel_budget: int,
) -> WorkingGrid:
    """Chooses the working grid of a study and says in the log what was chosen and why.

    Args:
        atlases: image and label map (0 = background) of each atlas.
        unlabeled: the other scans' geometry.
        settings: spacing, alignment, region, region_margin, intensity, percentiles, window are used.
        voxel_budget: most voxels the grid may have, 512 at least.

    Raises:
        ValueError: the budget is below the smallest grid.
    """
    axes = Geometry.of(atlases[0][0]).axes
    geometries = [Geometry.of(image).like(axes) for image, _ in atlases]
    unlabeled = [geometry.like(axes) for geometry in unlabeled]
    intensity, window = _choose_intensity(atlases, settings)
    spacing = settings.spacing or np.median([geometry.spacing for geometry in geometries], axis=0)
    extent = np.max([geometry.extent for geometry in geometries], axis=0)
    grid = WorkingGrid(
        *fit_grid(extent, spacing, voxel_budget),
        alignment=_choose_alignment([*geometries, *unlabeled], settings.alignment),
        intensity=intensity,
        percentiles=tuple(settings.percentiles),
        window=window,
        axes=tuple(axes.ravel().tolist()),
    )
    grid = _with_region(grid, atlases, spacing, settings, voxel_budget)
    if _is_coarsened(grid, spacing):
        log.info(
            "spacing coarsened from %s mm to %s mm to fit %d voxels, as memory and time permit",
            _times(spacing, "%.3g"), _times(grid.spacing, "%.3g"), voxel_budget,
        )  # fmt: skip
    log.info(
        "working grid: %s voxels of %s mm (%s)", _times(grid.size, "%d"), _times(grid.spacing, "%.3g"),
        "around the labels" if grid.region == "labels" else "whole scan",
    )  # fmt: skip
    return grid


def _is_coarsened(grid: WorkingGrid, spacing: Sequence[float]) -> bool:
    return not np.allclose(grid.spacing, spacing, rtol=SAME_SPACING)


def _with_region(
    whole: WorkingGrid,
    atlases: Sequence[tuple[sitk.Image, sitk.Image]],
    spacing: Sequence[float],
    settings: Settings,
    voxel_budget: int,
) -> WorkingGrid:
    """The grid for the part of the scans that the settings ask for, or that pays: the whole, or around the labels."""
    automatic = settings.region == "auto"
    if settings.region == "whole" or (automatic and not _is_coarsened(whole, spacing)):
        return whole
    margin = settings.region_margin
    if automatic:
        margin = max(margin, WIDE_MARGIN) + SHARED_MARGIN / len(atlases)
    low, high = _label_bounds(whole, atlases, margin)
    size, fitted = fit_grid(high - low, spacing, voxel_budget)
    offset = tuple(float(value) for value in (low + high) / 2)
    around = replace(whole, size=size, spacing=fitted, offset=offset, region="labels")
    if not automatic:
        return around
    finer = math.prod(whole.spacing) / math.prod(around.spacing)
    if finer < WORTH_CROPPING:
        return whole
    log.info("region: around the labels with %.3g mm to spare, as voxels are %.1f times smaller so", margin, finer)
    return around


def _times(values: Iterable[float], style: str) -> str:
    return " x ".join(style % value for value in values)


def fit_grid(
    extent: np.ndarray, spacing: Sequence[float], voxel_budget: int
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Size and spacing that cover `extent` (mm) within the budget.

    No axis is left finer than a floor, and the floor rises until the grid fits: the finest axes give way first, the
    coarsest last, and all together once they are equal. Sizes can be halved as often as the networks will.
    """
    if voxel_budget < SMALLEST_GRID:
        raise ValueError(f"a budget of {voxel_budget} voxels is below the smallest grid, {SMALLEST_GRID}")

    def at(floor: float) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
        coarse = np.maximum(spacing, floor)
        multiples = np.array(grid_multiples(coarse))
        voxels = np.maximum(extent / coarse - 0.01, FEWEST_VOXELS)  # a hundredth of a voxel may stick out
        size = tuple((np.ceil(voxels / multiples).astype(int) * multiples).tolist())
        return size, tuple(float(value) for value in coarse)

    low, high = float(np.min(spacing)), float(np.max([*spacing, *extent]))
    if math.prod(at(low)[0]) <= voxel_budget:
        return at(low)
    while high - low > 1e-4 * low:
        floor = (low + high) / 2
        low, high = (low, floor) if math.prod(at(floor)[0]) <= voxel_budget else (floor, high)
    return at(high)


def _choose_alignment(geometries: Sequence[Geometry], wanted: str) -> str:
    if wanted != "auto":
        log.info("alignment: %s (as set)", wanted)
        return wanted
    extents = np.array([geometry.extent for geometry in geometries])
    middle = np.median(extents, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a damaged header may tell no extent; reading will say so
        widest = float(np.nanmax(np.maximum(extents / middle, middle / extents)))
    # Where a scan shows more at one end only, its middle lies half of that away from the middle of the others.
    apart = float(np.nanmax(np.abs(extents - middle))) / 2
    enough = [name for name, limit in _MAY_DIFFER.items() if widest <= limit and apart <= _MAY_LIE_APART]
    chosen = next(iter(enough), "affine")
    told = "fields of view differ from the median by a factor of up to %.2f and by up to %.0f mm"
    log.info("alignment: %s (" + told + ")", chosen, widest, 2 * apart)
    return chosen


def _choose_intensity(
    atlases: Sequence[tuple[sitk.Image, sitk.Image]], settings: Settings
) -> tuple[str, tuple[float, float]]:
    """How grey values are mapped to 0..1, and the window.

    Percentiles of a CT follow its air, padding and metal, and leave soft tissues a few hundredths apart.
    """
    if settings.intensity != "auto":
        return settings.intensity, tuple(settings.window)
    images = [sitk.GetArrayViewFromImage(image) for image, _ in atlases]
    lowest = [image.min() for image in images]
    if min(lowest) > CT_AIR or max(lowest) >= 0:  # one that is cropped within the body shows no air, but fat
        return "percentiles", tuple(settings.window)
    labels = [sitk.GetArrayViewFromImage(each) for _, each in atlases]
    inside = np.concatenate([image[label != 0] for image, label in zip(images, labels, strict=True)])
    low, high = (float(value) for value in np.percentile(inside, (0.5, 99.5)))
    margin = max(CT_MARGIN, (high - low) / 2)
    window = max(float(round(low - margin)), LEAST_HOUNSFIELD), float(round(high + margin))
    log.info("grey values: the atlases are CT, %g to %g HU are mapped to 0..1", *window)
    return "window", window


def _label_bounds(
    grid: WorkingGrid, atlases: Sequence[tuple[sitk.Image, sitk.Image]], margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (3,), grid frame mm, of all atlases' labels when placed on `grid`, plus a margin as far as scans reach."""
    reference, boxes, scans = None, [], []
    for image, labels in atlases:
        placement = grid.place(image, reference)
        if reference is None and grid.alignment == "affine":
            reference = grid.image(grid.sample_image(image, placement))
        found = np.argwhere(sitk.GetArrayViewFromImage(labels) != 0)[:, ::-1]
        boxes.append(placed_bounds(box_corners(labels, found.min(axis=0), found.max(axis=0)), placement))
        scans.append(placed_bounds(box_corners(image), placement))
    (low, high), (scan_low, scan_high) = (np.array(pairs).transpose(1, 0, 2) for pairs in (boxes, scans))
    return (
        np.maximum(low.min(axis=0) - margin, scan_low.min(axis=0)),
        np.minimum(high.max(axis=0) + margin, scan_high.max(axis=0)),
    )
