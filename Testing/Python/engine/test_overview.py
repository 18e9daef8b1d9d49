"""Scans are registered as a whole also where the networks see only a part of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import tiny_bundle

from brbs.alignment import split_affine
from brbs.errors import InputError
from brbs.grid import WorkingGrid
from brbs.label_schema import Label, LabelSchema
from brbs.model import ModelBundle
from brbs.overview import Overview
from brbs.preparation import Prepared, prepare
from brbs.settings import Settings
from brbs.study import Atlas, Study

SHAPE = (60, 64, 56)  # z, y, x
SCHEMA = LabelSchema((Label(1, "Organ", (1.0, 0.5, 0.0)),))


def body(shift: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """An ellipsoid with a cavity and a bright organ, moved by so many voxels (z, y, x)."""
    z, y, x = (
        np.arange(size)[tuple(np.s_[:] if axis == at else None for at in range(3))] - size / 2 - moved
        for axis, (size, moved) in enumerate(zip(SHAPE, shift))
    )
    values = 100.0 * ((z / 22) ** 2 + (y / 20) ** 2 + (x / 16) ** 2 < 1)
    values[(z - 4) ** 2 + (y + 6) ** 2 + x**2 < 40] = 20
    values[organ(shift)] = 220
    return values.astype(np.float32)


def organ(shift: tuple[int, int, int] = (0, 0, 0)) -> tuple[slice, ...]:
    """Where the organ lies (z, y, x)."""
    return tuple(slice(start + moved, start + moved + 6) for start, moved in zip((18, 38, 20), shift))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    labels = np.zeros(SHAPE, np.uint8)
    labels[organ()] = 1
    for name, array in (("atlas", body()), ("labels", labels), ("scan", body((5, -4, 3)))):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{name}.nii.gz"))
    atlas = Atlas(tmp_path / "atlas.nii.gz", tmp_path / "labels.nii.gz")
    settings = Settings(region="labels", region_margin=4.0, alignment="affine")
    return Study(atlases=[atlas], unlabeled=[tmp_path / "scan.nii.gz"], validation=[], schema=SCHEMA, settings=settings)


def test_a_part_is_found_where_the_whole_scan_says_that_it_lies(study: Study) -> None:
    prepared = prepare(study, 10**6)
    assert prepared.grid.region == "labels" and max(prepared.grid.size) <= 16
    assert prepared.overview is not None and prepared.overview.volume.shape == SHAPE
    atlas, scan = prepared.atlas_images[0], prepared.unlabeled_images[0]
    centres = [np.argwhere(volume > 0.9).mean(0) for volume in (atlas, scan)]
    assert np.abs(centres[0] - centres[1]).max() < 1.5  # voxels; moved by 3 to 5 in the scan


def test_the_overview_stays_with_the_prepared_study_and_the_model(study: Study, tmp_path: Path) -> None:
    prepared = prepare(study, 10**6)
    prepared.save(tmp_path / "prepared.npz")
    kept = Prepared.load(tmp_path / "prepared.npz").overview
    bundle = tiny_bundle(overview=prepared.overview, grid=replace(tiny_bundle().grid, alignment="affine"))
    bundle.save(tmp_path / "model")
    read = ModelBundle.load(tmp_path / "model")
    for overview, exact in ((kept, 0), (read.overview, 1e-3)):
        assert (overview.spacing, overview.origin) == (prepared.overview.spacing, prepared.overview.origin)
        np.testing.assert_allclose(overview.volume, prepared.overview.volume, rtol=0, atol=exact)
    assert read.reference.GetSize() == SHAPE[::-1] and read.reference.GetOrigin() == prepared.overview.origin


def test_placing_by_an_overview_of_coarse_voxels_is_as_exact_as_a_registration_is() -> None:
    fine = WorkingGrid((16, 16, 16), (0.5, 0.5, 0.5), "affine", region="labels")
    atlas, scan = (sitk.GetImageFromArray(body(shift)) for shift in ((0, 0, 0), (3, -2, 4)))
    overview = Overview.of(fine, atlas, fine.place(atlas))
    assert overview.spacing == (1.0, 1.0, 1.0)  # the atlas's own, not the grid's
    placements = [fine.place(image, overview.image) for image in (atlas, scan)]
    there = [np.array(placement.TransformPoint((0.0, 0.0, 0.0))) for placement in placements]
    np.testing.assert_allclose(there[1] - there[0], (4, -2, 3), atol=0.6)
    np.testing.assert_allclose(split_affine(placements[1])[0], np.eye(3), atol=0.05)


@pytest.mark.parametrize(
    "place",
    [
        {"spacing": [1.0, 1.0, 0.0], "origin": [0.0, 0.0, 0.0]},
        {"spacing": [1.0, 1.0], "origin": [0.0, 0.0, 0.0]},
        {"spacing": [1.0, 1.0, 1.0], "origin": [0.0, float("nan"), 0.0]},
        {"spacing": [1.0, 1.0, "1"], "origin": [0.0, 0.0, 0.0]},
        {"spacing": [1.0, 1.0, 1.0]},
        [1, 2],
    ],
)
def test_an_overview_that_lies_nowhere_is_refused(study: Study, tmp_path: Path, place) -> None:
    overview = prepare(study, 10**6).overview
    tiny_bundle(overview=overview).save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"overview": place}), "utf-8")
    with pytest.raises(InputError, match="overview"):
        ModelBundle.load(tmp_path / "model")
