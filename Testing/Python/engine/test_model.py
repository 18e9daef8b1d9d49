"""The model bundle: what is saved comes back, and what cannot be read is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_bundle

from brbs.errors import InputError
from brbs.grid import WorkingGrid
from brbs.label_schema import LabelSchema
from brbs.model import ModelBundle
from brbs.model_description import FORMAT, MODEL_FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with umlauts and spaces that holds a model."""
    folder = tmp_path / "Größe Ü"
    tiny_bundle().save(folder)
    return folder


def edit(folder: Path, **entries) -> None:
    path = folder / MODEL_FILE
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | entries), encoding="utf-8")


def test_a_model_with_two_structures_of_one_name_is_still_read(folder: Path) -> None:
    twins = LabelSchema(tuple(replace(label, name="Niere") for label in tiny_bundle().schema.labels))
    tiny_bundle(schema=twins).save(folder)
    assert [label.name for label in ModelBundle.load(folder).schema.labels] == ["Niere", "Niere"]


def test_what_is_saved_comes_back(folder: Path) -> None:
    strides = ((1, 2, 2), (2, 2, 2))
    (bundle := tiny_bundle(strides=strides)).save(folder)
    found = ModelBundle.load(folder)
    assert (found.schema, found.grid, found.settings) == (bundle.schema, bundle.grid, bundle.settings)
    assert (found.channels, found.strides) == (bundle.channels, strides)
    assert found.provenance["atlases"] == ["atlas 0", "atlas 1"]
    assert {"brbs", "torch"} <= set(found.provenance["versions"])
    np.testing.assert_allclose(found.atlas_images, bundle.atlas_images, atol=1e-3)
    np.testing.assert_array_equal(found.atlas_labels, bundle.atlas_labels)
    volume = torch.rand(1, 1, 16, 20, 16)
    torch.testing.assert_close(found.segmentation_net()(volume), bundle.segmentation_net()(volume))
    torch.testing.assert_close(found.registration_net()(volume, volume), bundle.registration_net()(volume, volume))


def test_nothing_executable_is_in_the_folder(folder: Path) -> None:
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_a_model_without_registration_says_so_when_it_is_asked_for(tmp_path: Path) -> None:
    tiny_bundle(registration=None).save(tmp_path / "model")
    found = ModelBundle.load(tmp_path / "model")
    found.segmentation_net()
    with pytest.raises(InputError, match="no registration network"):
        found.registration_net()


def test_another_model_in_the_same_folder_leaves_nothing_of_the_first(folder: Path) -> None:
    first = ModelBundle.load(folder)
    one = {"atlas_images": first.atlas_images[:1] * 0.5, "atlas_labels": first.atlas_labels[:1]}
    other = tiny_bundle(seed=1, **one, provenance={"atlases": ["anna"]})
    other.save(folder)
    found = ModelBundle.load(folder)
    np.testing.assert_allclose(found.atlas_images, other.atlas_images, atol=1e-3)
    assert torch.equal(found.segmentation["out_conv.weight"], other.segmentation["out_conv.weight"])
    assert len(list(folder.iterdir())) == 4

    replace(other, registration=None).save(folder)
    assert ModelBundle.load(folder).registration is None
    assert len(list(folder.iterdir())) == 3


def test_a_save_that_breaks_off_leaves_the_model_of_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ModelBundle.load(folder)

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("brbs.model.write_json", full)
    with pytest.raises(OSError):
        tiny_bundle(seed=1, schema=LabelSchema.from_values([1, 2])).save(folder)
    found = ModelBundle.load(folder)
    assert found.schema == before.schema
    assert torch.equal(found.segmentation["out_conv.weight"], before.segmentation["out_conv.weight"])


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"):
        tiny_bundle().save(tmp_path / "file" / "model")


def test_a_newer_format_is_refused(folder: Path) -> None:
    edit(folder, format=FORMAT + 1)
    with pytest.raises(InputError, match=rf"model\.json: format {FORMAT + 1} is newer"):
        ModelBundle.load(folder)


def test_a_folder_without_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path.name}: no model here"):
        ModelBundle.load(tmp_path)


@pytest.mark.parametrize("part", ["segmentation", "registration", "atlases"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_weights_are_refused(folder: Path, part: str, damage: str) -> None:
    path = next(folder.glob(f"{part}-*"))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"Größe Ü/{path.name}: is (damaged|missing)"):
        ModelBundle.load(folder)


@pytest.mark.parametrize(
    "entries",
    [{"grid": None}, {"grid": {"size": [1, 2, 3]}}, {"labels": 3}, {"files": []}, {"settings": {"warp_speed": 9}}],
)
def test_a_description_that_makes_no_sense_is_refused_by_name(folder: Path, entries) -> None:
    edit(folder, **entries)
    with pytest.raises(InputError, match="Größe Ü"):
        ModelBundle.load(folder)


def test_weights_that_do_not_fit_the_labels_are_refused(folder: Path) -> None:
    edit(folder, labels=LabelSchema.from_values([1, 2, 3]).to_json())
    with pytest.raises(InputError, match="do not fit"):
        ModelBundle.load(folder).segmentation_net()


def test_a_file_outside_the_folder_is_not_read(folder: Path, tmp_path: Path) -> None:
    weights = next(folder.glob("segmentation-*"))
    weights.rename(tmp_path / weights.name)
    files = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))["files"]
    edit(folder, files=files | {"segmentation": f"../{weights.name}"})
    with pytest.raises(InputError, match="does not name its weights properly"):
        ModelBundle.load(folder)


def test_scans_are_registered_to_the_first_atlas_only_with_affine_alignment() -> None:
    bundle = tiny_bundle()
    assert bundle.reference is None
    affine = replace(bundle, grid=WorkingGrid(bundle.grid.size, bundle.grid.spacing, alignment="affine"))
    assert affine.reference.GetSize() == bundle.grid.size
