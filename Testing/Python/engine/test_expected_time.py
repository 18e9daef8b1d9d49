"""The expected duration of a training and the size of the grid it will work on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
from tiny_study import SCHEMA, on_grid, subject

from brbs.anisotropy import default_unet, relative_work
from brbs.checks import CheckedItem, look_at
from brbs.expected_time import (
    FEWEST_STEPS,
    expected_seconds,
    time_share,
    voxels_in,
    with_structures,
    working_voxels,
)
from brbs.grid_choice import choose_grid
from brbs.settings import PAPER, Settings
from brbs.volumes import write_image, write_label_map

DEVICE = {"seconds_per_step": {"volume": 1000, "coarse": 0.5, "warm-up": 2.0, "registration": 1.0, "together": 11.0}}
SETTINGS = Settings(
    segmentation_share=0.5,
    coarse_share=0.2,
    registration_share=0.2,
    atlas_steps=0,
    registration_interval=2,
    registration_scale=2,
    augmentation="full",
)


def seconds(voxels: int = 1000, steps: int = 100, **changes) -> float:
    return expected_seconds(DEVICE, voxels, steps, replace(SETTINGS, **changes))


@pytest.mark.parametrize("minutes", [10, 60])
def test_so_many_voxels_leave_time_for_the_fewest_steps(minutes: float) -> None:
    for settings in (SETTINGS, Settings(), PAPER):
        taken = expected_seconds(DEVICE, voxels_in(DEVICE, minutes, settings), FEWEST_STEPS, settings)
        assert taken == pytest.approx(60 * minutes, rel=0.03) and taken <= 60 * minutes


def test_phases_count_by_their_shares() -> None:
    assert seconds() == pytest.approx(10 * 0.5 + 40 * 2 + 20 * 1 + 30 * (10 + 0.5))
    assert seconds(segmentation_share=1.0, coarse_share=0.0, registration_share=0.0) == pytest.approx(200)
    assert seconds(segmentation_share=0.0, registration_share=1.0) == pytest.approx(100)
    assert seconds(segmentation_share=0.0, registration_share=0.0, registration_interval=1) == pytest.approx(1100)


def test_a_short_training_is_cheaper_a_step() -> None:
    assert seconds(atlas_steps=70) == pytest.approx(10 * 0.5 + 40 * 2 + 20 * 1 + 15 * 2 + 15 * (10 + 0.5))


def test_time_goes_by_phase_after_phase() -> None:
    whole = seconds()
    for voxels in (1000, 5000):
        assert time_share(DEVICE, voxels, 100, SETTINGS, 0.0) == 0.0
        assert time_share(DEVICE, voxels, 100, SETTINGS, 0.05) == pytest.approx(5 * 0.5 / whole)
        assert time_share(DEVICE, voxels, 100, SETTINGS, 0.25) == pytest.approx((10 * 0.5 + 15 * 2) / whole)
        assert time_share(DEVICE, voxels, 100, SETTINGS, 0.6) == pytest.approx((10 * 0.5 + 40 * 2 + 10 * 1) / whole)
        assert time_share(DEVICE, voxels, 100, SETTINGS, 1.0) == pytest.approx(1.0)


def test_time_grows_with_steps_and_voxels() -> None:
    assert seconds(voxels=3000) == pytest.approx(3 * seconds())
    assert seconds(steps=700) == pytest.approx(7 * seconds())


GPU = {
    "seconds_per_step": {"volume": 1000, "coarse": 3.0, "warm-up": 4.0, "registration": 2.0, "together": 11.0},
    "launch_seconds": {"coarse": 1.0, "warm-up": 1.5, "registration": 0.5, "together": 3.0},
}


def test_launches_take_their_time_however_few_voxels_there_are() -> None:
    alone = replace(SETTINGS, segmentation_share=1.0, coarse_share=0.0, registration_share=0.0)
    for voxels, each in ((0, 1.5), (1000, 4.0), (3000, 9.0)):
        assert expected_seconds(GPU, voxels, 100, alone) == pytest.approx(100 * each)
    registration = replace(SETTINGS, segmentation_share=0.0, registration_share=1.0, registration_scale=1)
    assert expected_seconds(GPU, 0, 100, registration) == pytest.approx(100 * 0.5)  # as many launches
    minutes = FEWEST_STEPS * 9.0 / 60
    assert voxels_in(GPU, minutes, alone) == pytest.approx(3000, rel=0.01)
    assert voxels_in(GPU, 0.01, alone) == 1


def test_where_launches_take_the_time_it_goes_by_as_they_do() -> None:
    gone = {voxels: time_share(GPU, voxels, 100, SETTINGS, 0.5) for voxels in (0, 1000, 10**6)}
    # 10 coarse steps, 40 on whole volumes, 20 of registration (none gone yet), 30 of both
    launched = 10 * 1.0 + 40 * 1.5, 20 * 0.5 + 30 * (2.5 + 0.25)
    assert gone[0] == pytest.approx(launched[0] / sum(launched))
    whole = 10 * 3.0 + 40 * 4.0, 20 * 2.0 + 30 * (9.0 + 1.0)
    assert gone[1000] == pytest.approx(whole[0] / sum(whole))
    by_voxel = 10 * 2.0 + 40 * 2.5, 20 * 1.5 + 30 * (6.5 + 0.75)
    assert gone[10**6] == pytest.approx(by_voxel[0] / sum(by_voxel), rel=0.01)


def test_launches_that_seem_to_take_longer_than_a_step_leave_some_of_it_to_the_voxels() -> None:
    odd = {**GPU, "launch_seconds": {name: 99.0 for name in GPU["launch_seconds"]}}
    alone = replace(SETTINGS, segmentation_share=1.0, coarse_share=0.0, registration_share=0.0)
    assert expected_seconds(odd, 1000, 100, alone) == pytest.approx(400)
    assert expected_seconds(odd, 2000, 100, alone) == pytest.approx(440)


def test_structures_take_time_each() -> None:
    device = {**DEVICE, "seconds_per_structure": {"coarse": 0.0, "warm-up": 0.25, "registration": 0.0, "together": 1.0}}
    alone = replace(SETTINGS, segmentation_share=1.0, coarse_share=0.0, registration_share=0.0)
    for structures, warm_up in ((1, 2.0), (9, 4.0)):
        found = expected_seconds(with_structures(device, structures), 1000, 100, alone)
        assert found == pytest.approx(100 * warm_up)


def test_what_a_step_computes_counts() -> None:
    alone = {"segmentation_share": 0.0, "registration_share": 1.0}
    assert seconds(**alone, registration_scale=1) == pytest.approx(8 * seconds(**alone))
    together = {"segmentation_share": 0.0, "registration_share": 0.0}
    assert seconds(**together, augmentation="published") < seconds(**together) < seconds(**together, averaging=0.0)
    default = expected_seconds(DEVICE, 1000, 100, replace(Settings(), **together, atlas_steps=0))
    assert expected_seconds(DEVICE, 1000, 100, PAPER) > 1.3 * default  # measured on a CPU: 1.6 to 1.9


def checked(folder: Path, name: str, orientation: str, spacing: tuple[float, ...]) -> CheckedItem:
    """A checked atlas of 16 x 20 x 16 voxels along the patient's axes, stored in another orientation."""
    image, labels = (sitk.DICOMOrient(on_grid(array, spacing), orientation) for array in subject(3))
    write_image(image, folder / f"{name}.nii.gz")
    write_label_map(labels, folder / f"{name}.seg.nrrd", SCHEMA.meta)
    return look_at(CheckedItem("atlas", folder / f"{name}.nii.gz", folder / f"{name}.seg.nrrd", "unchecked"))


@pytest.mark.parametrize("spacing", [None, (0.5, 1.0, 1.5), (0.05, 0.05, 0.05)])
def test_voxels_are_those_of_the_grid_that_will_be_chosen(tmp_path: Path, spacing: tuple | None) -> None:
    items = [
        checked(tmp_path, "a", "LPS", (1.0, 1.5, 2.0)),
        checked(tmp_path, "b", "SRA", (1.1, 1.4, 4.0)),
        checked(tmp_path, "c", "AIL", (0.9, 1.4, 3.0)),
    ]
    pairs = [(sitk.ReadImage(str(item.image)), sitk.ReadImage(str(item.labels))) for item in items]
    settings = Settings(spacing=spacing, alignment="none")
    published = replace(settings, channels=(8, 16, 8))
    for cpu, budget in ((True, 96**3), (False, 160**3)):
        grid = choose_grid(pairs, [], settings, budget)
        work = relative_work(default_unet(grid.shape, grid.spacing[::-1])[1])
        assert working_voxels(items, settings, cpu) == round(work * math.prod(grid.size)) <= budget
        voxels = math.prod(choose_grid(pairs, [], published, budget).size)
        assert working_voxels(items, published, cpu) == voxels <= budget


def test_only_usable_atlases_count(tmp_path: Path) -> None:
    atlas = checked(tmp_path, "a", "LPS", (1.0, 1.5, 2.0))
    others = [
        CheckedItem("atlas", tmp_path / "gone.nrrd", tmp_path / "gone.seg.nrrd", "missing"),
        replace(atlas, role="unlabeled", extent=(500.0, 500.0, 500.0)),
        replace(atlas, status="geometry", extent=(500.0, 500.0, 500.0)),
    ]
    assert working_voxels([atlas, *others], Settings(), cpu=True) == working_voxels([atlas], Settings(), cpu=True)
    assert working_voxels(others, Settings(), cpu=True) == 96**3  # nothing known yet: the most
    assert working_voxels([], Settings(), cpu=False) == 160**3
