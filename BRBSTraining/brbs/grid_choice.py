"""Choosing the working grid of a study: spacing, size, alignment and region."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import SimpleITK as sitk

from .alignment import Geometry
from .anisotropy import is_thin_stack
from .grid import WorkingGrid
from .grid_fit import fit_grid
from .region import is_coarser, with_region
from .settings import Settings

log = logging.getLogger("brbs")

SMALLEST_BUDGET, LARGEST_BUDGET = 32**3, 160**3  # voxels of a working grid
CPU_BUDGET = 96**3  # beyond this a step takes many seconds on a CPU

CT_AIR = -900.0  # Hounsfield units; scans that reach below are CT
CT_MARGIN = 200.0  # at least, around the structures' values, so that fat, muscle and bone around them are told apart
LEAST_HOUNSFIELD = -1000.0  # air; what is below is padding

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
    everything = [*geometries, *unlabeled]
    usual = [np.median([getattr(geometry, name) for geometry in everything], axis=0) for name in ("size", "spacing")]
    thin = is_thin_stack(*usual)
    intensity, window = _choose_intensity(atlases, settings)
    spacing = settings.spacing or np.median([geometry.spacing for geometry in geometries], axis=0)
    extent = np.max([geometry.extent for geometry in geometries], axis=0)
    grid = WorkingGrid(
        *fit_grid(extent, spacing, voxel_budget, settings.channels),
        alignment=_choose_alignment(everything, settings.alignment, thin),
        intensity=intensity,
        percentiles=tuple(settings.percentiles),
        window=window,
        axes=tuple(axes.ravel().tolist()),
    )
    grid = with_region(grid, atlases, spacing, settings, voxel_budget, thin)
    if is_coarser(grid, spacing):
        log.info(
            "spacing coarsened from %s mm to %s mm to fit %d voxels, as memory and time permit",
            _times(spacing, "%.3g"), _times(grid.spacing, "%.3g"), voxel_budget,
        )  # fmt: skip
    log.info(
        "working grid: %s voxels of %s mm (%s)", _times(grid.size, "%d"), _times(grid.spacing, "%.3g"),
        "around the labels" if grid.region == "labels" else "whole scan",
    )  # fmt: skip
    return grid


def _times(values: Iterable[float], style: str) -> str:
    return " x ".join(style % value for value in values)


def _choose_alignment(geometries: Sequence[Geometry], wanted: str, thin_stacks: bool) -> str:
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
    if chosen == "affine" and thin_stacks:
        log.info("alignment: none (stacks of few thick slices are planned on the organ, and hardly to be registered)")
        return "none"
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
