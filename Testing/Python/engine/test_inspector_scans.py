"""Scans of any grid are looked at, what was done to them is said, and references tell how well R has done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_inspection import inspection, write_sources
from tiny_study import on_grid, subject

from brbs.errors import InputError
from brbs.inspector import inspect
from brbs.inspector_scans import ScanPlacer
from brbs.model import ModelBundle
from brbs.volumes import read_image, write_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("scans"))


@pytest.fixture
def placer(folder: Path) -> ScanPlacer:
    return ScanPlacer(ModelBundle.load(folder / "model"))


def figures(folder: Path, output: Path, **changes) -> dict:
    inspect(inspection(folder, output, **changes))
    return json.loads((output / "figures.json").read_text(encoding="utf-8"))


def test_a_scan_on_the_model_s_grid_needs_no_word(folder: Path, placer: ScanPlacer) -> None:
    placer.place(folder / "space.nrrd")
    assert placer.notes == []


def test_a_scan_on_another_grid_is_resampled_and_that_is_said(folder: Path, tmp_path: Path, placer: ScanPlacer) -> None:
    scan = read_image(folder / "style.nrrd")
    fine = sitk.Resample(scan, (32, 20, 16), sitk.Transform(), sitk.sitkLinear, scan.GetOrigin(), (0.5, 1.5, 2.0))
    write_image(fine, tmp_path / "fine.nrrd")
    assert placer.place(tmp_path / "fine.nrrd").image.shape == placer.bundle.grid.shape
    lattices = "32 x 20 x 16 voxels of 0.5 x 1.5 x 2 mm onto the model's 16 x 20 x 16 voxels of 1 x 1.5 x 2 mm"
    assert placer.notes == [f"fine.nrrd: resampled from {lattices}"]


def test_a_smaller_scan_is_padded_and_that_is_said(folder: Path, tmp_path: Path, placer: ScanPlacer) -> None:
    write_image(read_image(folder / "style.nrrd")[2:, :-4], tmp_path / "small.nrrd")
    placer.place(tmp_path / "small.nrrd")
    assert placer.notes == ["small.nrrd: cut or padded from 14 x 16 x 16 voxels to the model's 16 x 20 x 16"]


def labels_beside(scan: Path, values: np.ndarray, name: str) -> Path:
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(read_image(scan))
    path = scan.parent / name
    write_image(labels, path)
    return path


def test_a_label_map_of_the_space_scan_gives_dice(folder: Path, tmp_path: Path) -> None:
    atlas = subject(1)[1]  # the atlas's own label map as the reference: nothing to gain
    told = figures(folder, tmp_path, space_labels=labels_beside(folder / "space.nrrd", atlas, "same.nrrd"))
    assert told["dice"]["before"] == {"Hülle": 1.0, "Kern": 1.0}
    assert set(told["dice"]["after"]) == {"Hülle", "Kern"} and max(told["dice"]["after"].values()) < 1
    assert told["notes"] == []
    assert "dice" not in figures(folder, tmp_path)


def test_a_label_map_on_another_grid_is_resampled_and_that_is_said(folder: Path, placer: ScanPlacer) -> None:
    path = labels_beside(folder / "space.nrrd", subject(1)[1], "whole.nrrd")
    write_image(sitk.ReadImage(str(path))[1:, :, :-1], folder / "part.nrrd")  # what is cut off is background
    space = placer.place(folder / "space.nrrd")
    np.testing.assert_array_equal(placer.reference(space, folder / "part.nrrd"), placer.reference(space, path))
    assert placer.notes == ["part.nrrd: resampled onto the grid of space.nrrd"]


def test_an_atlas_of_the_model_brings_its_own_label_map(folder: Path, tmp_path: Path, placer: ScanPlacer) -> None:
    image = on_grid(placer.bundle.atlas_images[0] * 1000 + 7)
    write_image(image, tmp_path / "atlas 0.nrrd")
    space = placer.place(tmp_path / "atlas 0.nrrd")
    np.testing.assert_array_equal(placer.reference(space, None), placer.bundle.atlas_labels[0])


def test_another_scan_with_an_atlas_s_name_does_not(tmp_path: Path, placer: ScanPlacer) -> None:
    write_image(on_grid(subject(7)[0]), tmp_path / "atlas 0.nrrd")
    assert placer.reference(placer.place(tmp_path / "atlas 0.nrrd"), None) is None


def test_unknown_structures_of_a_reference_are_named(folder: Path, placer: ScanPlacer) -> None:
    path = labels_beside(folder / "space.nrrd", np.full((16, 20, 16), 9, np.uint8), "strange.nrrd")
    with pytest.raises(InputError, match=r"strange\.nrrd: label value 9 is unknown"):
        placer.reference(placer.place(folder / "space.nrrd"), path)
