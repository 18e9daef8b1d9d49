"""Models from elsewhere whose description cannot be true: refused by name, before anything is allocated for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import tiny_bundle

from brbs.bundle_file import check_bundle
from brbs.errors import InputError
from brbs.model import ModelBundle
from brbs.model_description import MODEL_FILE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_bundle().save(folder)
    return folder


@pytest.fixture
def good(folder: Path) -> Iterator[dict[str, Any]]:
    """The true description; it is put back in the end."""
    text = (folder / MODEL_FILE).read_text(encoding="utf-8")
    yield json.loads(text)
    (folder / MODEL_FILE).write_text(text, encoding="utf-8")


def describe(folder: Path, description: dict[str, Any] | str) -> None:
    text = description if isinstance(description, str) else json.dumps(description)
    (folder / MODEL_FILE).write_text(text, encoding="utf-8")


def refused(folder: Path, match: str) -> None:
    for read in (check_bundle, ModelBundle.load):
        with pytest.raises(InputError, match=match):
            read(folder)


WIDTHS = ([10**12] * 5, [4100] * 5, [0] * 5, [-4] * 5, [1.5] * 5, ["8"] * 5, [True] * 5, [8, 8], [], [8] * 99, 8, None)


@pytest.mark.parametrize("widths", WIDTHS, ids=lambda widths: str(widths)[:12])
def test_networks_that_cannot_be(folder: Path, good: dict, widths: Any) -> None:
    describe(folder, good | {"channels": widths})
    refused(folder, "describe its networks")


STRIDES = ([[2, 2, 2]], [[2, 2]] * 2, [[3, 2, 2]] * 2, [[2, 2, True]] * 2, [[10**12] * 3] * 2, [2, 2], "22", 2, {})


@pytest.mark.parametrize("strides", STRIDES, ids=str)
def test_networks_that_halve_as_none_can(folder: Path, good: dict, strides: Any) -> None:
    describe(folder, good | {"strides": strides})
    refused(folder, "describe its networks")


@pytest.mark.parametrize("name, value", [
    *(("size", [edge] * 3) for edge in (10**12, 10**4, 0, -1, 1.5, "16", True, None)),
    *(("spacing", [edge] * 3) for edge in (float("nan"), float("inf"), 0, -1, "1", None)),
    *((name, value) for name in ("size", "spacing", "offset", "percentiles", "window") for value in ([1], None, {})),
    *(("percentiles", values) for values in ([-5, 50], [50, 300], [99.5, 0.5], [50, 50])),
    *(("axes", axes) for axes in ([1], None, [0] * 9, [1] * 9, [-1, 0, 0, 0, 1, 0, 0, 0, 1], ["1"] * 9)),
    *((name, value) for name in ("alignment", "intensity", "region") for value in ("other", None, [1])),
])  # fmt: skip
def test_grid_that_cannot_be(folder: Path, good: dict, name: str, value: Any) -> None:
    describe(folder, good | {"grid": good["grid"] | {name: value}})
    refused(folder, "describe its working grid")


@pytest.mark.parametrize("change", [
    *({"value": value} for value in (0, 1.5, "1", None, True, 10**30, -(10**30))),
    *({"colour": colour} for colour in ([1], "red", [float("nan")] * 3, [None] * 3, None)),
    {"name": 3}, {"terminology": ["T"]},
])  # fmt: skip
def test_structure_that_cannot_be(folder: Path, good: dict, change: dict) -> None:
    describe(folder, good | {"labels": [good["labels"][0] | change, *good["labels"][1:]]})
    refused(folder, "describe its structures")


def test_more_structures_than_can_be_trained(folder: Path, good: dict) -> None:
    many = [good["labels"][0] | {"value": value, "name": str(value)} for value in range(1, 300)]
    describe(folder, good | {"labels": many})
    refused(folder, "at most 255")


def test_huge_nesting(folder: Path, good: dict) -> None:
    describe(folder, '{"format": 1, "labels": ' + "[" * 100_000 + "]" * 100_000 + "}")
    refused(folder, "cannot be read as JSON")


def test_wide_networks_take_no_memory_when_their_weights_are_not_there(folder: Path, good: dict) -> None:
    """Ten convolutions of 4096 channels would need 20 GB."""
    describe(folder, good | {"channels": [4096] * 5})
    bundle = ModelBundle.load(folder)
    for network in (bundle.segmentation_net, bundle.registration_net):
        with pytest.raises(InputError, match="do not fit"):
            network()


@pytest.mark.parametrize("atlases", [
    {"images": torch.zeros(2, 8, 8, 8).half(), "labels": torch.zeros(2, 8, 8, 8, dtype=torch.uint8)},
    {"labels": torch.zeros(1, 16, 20, 16, dtype=torch.uint8)},
    {"labels": torch.full((2, 16, 20, 16), 3, dtype=torch.uint8)},
    {"labels": torch.zeros(2, 16, 20, 16)},
])  # fmt: skip
def test_atlases_that_do_not_fit(tmp_path: Path, atlases: dict[str, torch.Tensor]) -> None:
    bundle = tiny_bundle()
    parts = {"images": bundle.atlas_images, "labels": bundle.atlas_labels} | atlases
    changed = {f"atlas_{name}": np.asarray(part) for name, part in parts.items()}
    tiny_bundle(**changed).save(tmp_path / "model")
    with pytest.raises(InputError, match="its atlases"):
        ModelBundle.load(tmp_path / "model")


def test_alignment_to_an_atlas_that_is_not_there(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    grid, none = replace(bundle.grid, alignment="affine"), (0, *bundle.grid.shape)
    nothing = {"atlas_images": np.zeros(none, np.float16), "atlas_labels": np.zeros(none, np.uint8)}
    replace(bundle, grid=grid, provenance={}, **nothing).save(tmp_path / "model")
    with pytest.raises(InputError, match="aligns scans to an atlas and holds none"):
        ModelBundle.load(tmp_path / "model")
    replace(bundle, grid=grid).save(tmp_path / "model")
    assert ModelBundle.load(tmp_path / "model").reference is not None


@pytest.mark.parametrize("names", ["a", [1, 2], [None, "a"], {"a": 1}, 2])
def test_names_of_atlases_that_are_none(folder: Path, good: dict, names: Any) -> None:
    describe(folder, good | {"provenance": good["provenance"] | {"atlases": names}})
    refused(folder, "describe its origin")


def test_more_names_than_atlases(tmp_path: Path) -> None:
    tiny_bundle(provenance={"atlases": ["a", "b", "c"]}).save(tmp_path / "model")
    with pytest.raises(InputError, match="names more or fewer atlases"):
        ModelBundle.load(tmp_path / "model")


WRONG = (None, True, -1, 1.5, 10**30, float("nan"), "", "x" * 1000, [], [None], {}, {"a": {"b": []}})


def test_any_one_value_may_be_wrong(folder: Path, good: dict) -> None:
    """Whatever stands in place of a value: it is refused in people's words, or does not matter."""
    refusals = 0
    for place in places(good):
        for wrong in WRONG:
            describe(folder, replaced(good, place, wrong))
            try:
                check_bundle(folder)
                ModelBundle.load(folder)
            except InputError as error:
                assert str(folder) in str(error)
                refusals += 1
    assert refusals > 500


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Where there is something in nested dictionaries and lists: keys and indices from outside in."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*at, key)
        yield from places(entry, (*at, key))


def replaced(value: dict, place: tuple, by: Any) -> dict:
    changed = inner = copy.deepcopy(value)
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = by
    return changed
