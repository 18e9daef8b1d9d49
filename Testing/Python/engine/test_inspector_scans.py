"""Scans of any grid are looked at, what was done to them is said, and references tell how well R has done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_inspection import inspection, write_sources
from tiny_model import tiny_bundle
from tiny_study import SETTINGS, on_grid, run, subject, write_study

from brbs.bundle_file import export_bundle, import_bundle
from brbs.errors import InputError
from brbs.inspector import inspect
from brbs.inspector_files import FILES
from brbs.inspector_scans import ScanPlacer
from brbs.model import ModelBundle
from brbs.study import Study
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


def test_an_exported_model_is_told_to_have_atlases_without_names(folder: Path, tmp_path: Path) -> None:
    export_bundle(folder / "model", tmp_path / "model.zip")
    imported = import_bundle(tmp_path / "model.zip", tmp_path)
    with pytest.raises(InputError, match=f"{imported.name}: its atlases have no names, as it was exported.* use the"):
        inspect(replace(inspection(folder, tmp_path / "out"), model=imported))
    tiny_bundle(provenance={"atlases": []}, **without_atlases()).save(tmp_path / "none")
    with pytest.raises(InputError, match="none: holds no atlases"):
        inspect(replace(inspection(folder, tmp_path / "out"), model=tmp_path / "none"))


def without_atlases() -> dict[str, np.ndarray]:
    shape = (0, *tiny_bundle().grid.shape)
    return {"atlas_images": np.zeros(shape, np.float16), "atlas_labels": np.zeros(shape, np.uint8)}


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


@pytest.fixture
def study(folder: Path, tmp_path: Path) -> Path:
    """Has the two scans, and ``atlas 1`` by name."""
    study = write_study(tmp_path / "study")
    known = Study.from_folders(study / "images", study / "labels", study / "unlabeled", SETTINGS)
    known.unlabeled += [folder / "style.nrrd", folder / "space.nrrd"]
    known.save(study)
    return study


def test_scans_of_the_study_are_taken(folder: Path, study: Path, tmp_path: Path) -> None:
    inspect(inspection(folder, tmp_path / "file", atlas=study / "images/atlas 1.nii.gz", study=study))
    by_name = replace(inspection(folder, tmp_path / "name", study=study), atlas="atlas 1")
    assert inspect(by_name) == [tmp_path / "name" / name for name in FILES]


@pytest.mark.parametrize("role", ["atlas", "style", "space"])
def test_a_scan_that_is_not_in_the_study_is_named(folder: Path, study: Path, tmp_path: Path, role: str) -> None:
    asked = replace(inspection(folder, tmp_path / "out", study=study), atlas="atlas 1")
    asked = replace(asked, **{role: folder / "atlas 1.nrrd"})
    with pytest.raises(InputError, match=r"atlas 1\.nrrd: is not in the study .*add it there or choose"):
        inspect(asked)
    assert not (tmp_path / "out").exists()


def test_the_command_takes_every_option(folder: Path, study: Path, tmp_path: Path) -> None:
    labels = labels_beside(folder / "space.nrrd", subject(101)[1], "known.nrrd")
    sources = ["--model", folder / "model", "--atlas", "atlas 1", "--style", folder / "style.nrrd"]
    target = ["--space", folder / "space.nrrd", "--space-labels", labels, "--study", study]
    more = ["--alpha", "0.5", "--beta", "0.25", "--samples", "2", "--seed", "3", "--device", "cpu"]
    assert run(["warp", *sources, *target, *more, "--output", tmp_path / "out"]) == 0
    told = json.loads((tmp_path / "out/figures.json").read_text(encoding="utf-8"))
    assert (told["alpha"], told["beta"], len(told["samples"])) == (0.5, 0.25, 2) and "dice" in told
