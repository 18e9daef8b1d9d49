"""A study whose slices are thicker than its pixels, from training to a model on another computer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tiny_model import tiny_bundle
from tiny_study import SHARES, run

from brbs.model import ModelBundle


def test_networks_of_thick_slices_travel_with_the_model(study: Path, tmp_path: Path) -> None:
    """Slices of 2 mm, pixels of 1 mm: the slices are joined at the second level only."""
    model = tmp_path / "model"
    scans = ["--atlas-images", study / "images", "--atlas-labels", study / "labels", "--unlabeled", study / "unlabeled"]
    assert run(["train", *scans, "--output", model, "--steps", "3", "--device", "cpu", *SHARES]) == 0
    assert json.loads((model / "model.json").read_text(encoding="utf-8"))["strides"] == [[1, 2, 2], [2, 2, 2]]
    assert run(["export-model", "--model", model, "--output", tmp_path / "model.zip"]) == 0
    assert run(["import-model", "--input", tmp_path / "model.zip", "--output", tmp_path / "elsewhere"]) == 0
    (imported,) = (path.parent for path in (tmp_path / "elsewhere").rglob("model.json"))
    for folder in (model, imported):
        given = ["--model", folder, "--input", study / "unlabeled", "--output", folder.with_suffix(".out")]
        assert run(["segment", *given, "--probabilities", "--device", "cpu"]) == 0
    here, there = (sorted(folder.with_suffix(".out").iterdir()) for folder in (model, imported))
    assert [path.name for path in here] == [path.name for path in there]
    for path, other in zip(here, there):
        arrays = (sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in (path, other))
        np.testing.assert_array_equal(*arrays)


def test_models_from_before_strides_halve_all_axes(tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path)
    path = tmp_path / "model.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({key: value for key, value in description.items() if key != "strides"}), "utf-8")
    bundle = ModelBundle.load(tmp_path)
    assert bundle.segmentation_net().unet.multiples == bundle.registration_net().unet.multiples == (4, 4, 4)
