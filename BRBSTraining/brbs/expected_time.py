"""How long a training will take, estimated from the measured speed of a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .checks import CheckedItem
from .grid_choice import CPU_BUDGET, LARGEST_BUDGET
from .grid_fit import fit_grid, voxels_by_work
from .schedule import COARSE, REGISTRATION, SEGMENTATION, TOGETHER, phase_shares
from .settings import Settings

LARGEST_LAUNCH_SHARE = 0.9  # of a step's time; more is what measurements scatter by
FEWEST_STEPS = 1200  # of a training limited in time: in fewer, fine voxels bring less than coarser ones

_PATIENT_AXES = ("LR", "AP", "IS")  # x, y, z of the working grid


def expected_seconds(timed: Mapping[str, Any], voxels: int, steps: int, settings: Settings) -> float:
    """Duration of a training in seconds, without reading the scans; good to a third or so.

    The time of a step is taken to grow with the number of voxels, from what a GPU needs for launches alone; widths of
    the networks other than the default ones are not reckoned with.

    Args:
        timed: what :func:`brbs.step_timing.step_seconds` gives, or a device of
            :func:`brbs.device_report.report` that has "seconds_per_step".
        voxels: of the working grid, see :func:`working_voxels`.
        steps: of the training.
        settings: the shares of the phases and what a step computes.
    """
    return steps * sum(share * seconds for share, seconds in _phases(timed, voxels, steps, settings))


def voxels_in(timed: Mapping[str, Any], minutes: float, settings: Settings) -> int:
    """Most voxels of a working grid on which a training of so many minutes still makes :data:`FEWEST_STEPS` steps.

    Args:
        timed: as of :func:`expected_seconds`.
        minutes: of the training.
        settings: the shares of the phases and what a step computes.

    Returns:
        The number, 1 at least; a working grid has no fewer than :data:`brbs.grid_choice.SMALLEST_BUDGET`.
    """
    measured = timed["seconds_per_step"]["volume"]
    least, whole = (expected_seconds(timed, voxels, FEWEST_STEPS, settings) for voxels in (0, measured))
    return max(1, int((60 * minutes - least) / (whole - least) * measured))


def time_share(timed: Mapping[str, Any], voxels: int, steps: int, settings: Settings, progress: float) -> float:
    """Share of a training's time, 0..1, that has gone by when part of its steps is done: phases differ.

    Args:
        timed, voxels, steps, settings: as of :func:`expected_seconds`.
        progress: the part, 0..1.
    """
    phases = _phases(timed, voxels, steps, settings)
    total = sum(share * seconds for share, seconds in phases)
    gone, left = 0.0, progress
    for share, seconds in phases:
        gone += min(share, left) * seconds
        left -= min(share, left)
    return gone / total


def _phases(timed: Mapping[str, Any], voxels: int, steps: int, settings: Settings) -> list[tuple[float, float]]:
    """Share of the steps, and seconds of one step on so many voxels, of each phase in order."""
    measured = _seconds_of(timed["seconds_per_step"], settings)
    as_timed = replace(settings, registration_scale=Settings().registration_scale)  # as many launches on fewer voxels
    launching = _seconds_of(timed["launch_seconds"], as_timed) if "launch_seconds" in timed else {}
    found = []
    for name, share in phase_shares(steps, settings):
        least = min(launching.get(name, 0.0), LARGEST_LAUNCH_SHARE * measured[name])
        found.append((share, least + (measured[name] - least) * voxels / timed["seconds_per_step"]["volume"]))
    return found


def _seconds_of(timed: Mapping[str, float], settings: Settings) -> dict[str, float]:
    """Seconds of one step of each phase, from those that default settings take."""
    default = Settings()
    registration = timed["registration"] * (default.registration_scale / settings.registration_scale) ** 3
    segmentation = timed["together"] - timed["registration"]
    segmentation *= _segmentation_passes(settings) / _segmentation_passes(default)
    return {
        COARSE: timed["coarse"],
        SEGMENTATION: timed["warm-up"],
        REGISTRATION: registration,
        TOGETHER: segmentation + registration / settings.registration_interval,
    }


def with_structures(reported: Mapping[str, Any], count: int) -> dict[str, Any]:
    """A device as it is reported, with the seconds that steps take when so many structures are segmented."""
    more = reported["seconds_per_structure"]
    seconds = {name: value + (count - 1) * more.get(name, 0.0) for name, value in reported["seconds_per_step"].items()}
    return {**reported, "seconds_per_step": seconds}


def _segmentation_passes(settings: Settings) -> float:
    """Volumes that pass a network in one step of the segmentation network beside the other.

    A volume that is learned from counts three times, as its way back takes about twice as long as its way forth.
    """
    learned = 2 if settings.augmentation == "published" else 3  # generated samples and the mixture
    targets = 2 if settings.averaging else 2 * 3 + 2  # without average: learned from, too, and labelled each time
    displacement = 2 / settings.registration_scale**3
    return 3 * learned + targets + displacement


def working_voxels(items: Iterable[CheckedItem], settings: Settings, cpu: bool) -> int:
    """Voxels of the working grid that a training will choose, memory permitting.

    They are counted by the time they take, see :func:`brbs.grid_fit.voxels_by_work`. Around labels only
    (``settings.region``) the grid may be smaller than this.

    Args:
        items: of the study; its usable atlases count.
        settings: spacing.
        cpu: whether it will be trained on a CPU.

    Returns:
        The number of voxels; the most there may be, as long as no atlas is known.
    """
    atlases = [item for item in items if item.role == "atlas" and item.usable]
    budget = CPU_BUDGET if cpu else LARGEST_BUDGET
    if not atlases:
        return budget
    spacing = settings.spacing or np.median([_patient_spacing(atlas) for atlas in atlases], axis=0)
    extent = np.max([atlas.extent for atlas in atlases], axis=0)
    return round(voxels_by_work(*fit_grid(extent, spacing, budget, settings.channels), settings.channels))


def _patient_spacing(item: CheckedItem) -> list[float]:
    """Spacing along the patient's axes (left, back, head), mm."""
    return [
        next(step for step, letter in zip(item.spacing, item.orientation) if letter in axis) for axis in _PATIENT_AXES
    ]
