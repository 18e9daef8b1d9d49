"""Tensors as the package safetensors writes them, read without it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from brbs.errors import InputError
from brbs.tensor_file import check_tensors, map_tensor

TENSORS = {
    "images": np.linspace(0, 1, 24, dtype=np.float16).reshape(1, 2, 3, 4),
    "labels": np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4),
    "weights": np.array([0.5, -2], np.float32),
    "empty": np.zeros((0, 3), np.float32),
}


def written(path: Path, header: dict, data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_tensors_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "Gewichte ä.safetensors"
    save_file(TENSORS, path, metadata={"format": "np"})
    check_tensors(path)
    for name, tensor in TENSORS.items():
        found = map_tensor(path, name)
        assert found.dtype == tensor.dtype and found.shape == tensor.shape
        np.testing.assert_array_equal(found, tensor)


@pytest.mark.parametrize("entry", [
    {"dtype": "U8", "shape": [3], "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [5], "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [-4], "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [10**30], "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [10**4000] * 1000, "data_offsets": [0, 4]},  # whose product takes minutes
    {"dtype": "U8", "shape": [2**40] * 100_000, "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [4, *[1] * 8], "data_offsets": [0, 4]},
    {"dtype": "F99", "shape": [4], "data_offsets": [0, 4]},
    {"data_offsets": [0, 4]},
])  # fmt: skip
def test_tensor_that_does_not_fit_is_told(tmp_path: Path, entry: dict) -> None:
    path = written(tmp_path / "x.safetensors", {"x": entry}, b"1234")
    for read in (check_tensors, lambda path: map_tensor(path, "x")):
        with pytest.raises(InputError, match="is damaged"):
            read(path)


def test_name_twice_is_refused(tmp_path: Path) -> None:
    entry = b'"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}'
    text = b"{" + entry + b", " + entry + b"}"
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"1234")
    with pytest.raises(InputError, match="twice"):
        check_tensors(path)


def test_gaps_overlaps_and_rests_are_refused(tmp_path: Path) -> None:
    for spans in ([(0, 2), (3, 4)], [(0, 3), (2, 4)], [(0, 3)], [(0, 5)], [(1, 4)], [("0", "4")], [(0, 2, 4)]):
        header = {str(n): {"dtype": "U8", "shape": [1], "data_offsets": span} for n, span in enumerate(spans)}
        with pytest.raises(InputError, match="damaged"):
            check_tensors(written(tmp_path / "x.safetensors", header, b"1234"))


def test_long_header_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path / "x.safetensors", {"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, b"1234")
    monkeypatch.setattr("brbs.tensor_file.LARGEST_HEADER", 10)
    with pytest.raises(InputError, match="header is too long"):
        check_tensors(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        check_tensors(tmp_path / "gone.safetensors")
