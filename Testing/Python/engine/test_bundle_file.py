"""Models in one file: what goes in comes out, names of people stay at home, and nothing else gets in."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pytest
from tiny_model import tiny_bundle
from tiny_study import content

from brbs.bundle_file import check_bundle, export_bundle, import_bundle
from brbs.errors import InputError
from brbs.model import ModelBundle


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "Modell für Müller"
    tiny_bundle(provenance={"atlases": ["Anna Müller", "Berta"], "step": 7}).save(folder)
    return folder


@pytest.fixture
def file(model: Path, tmp_path: Path) -> Path:
    export_bundle(model, tmp_path / "Nieren 1.zip")
    return tmp_path / "Nieren 1.zip"


def spoil(file: Path, **entries: bytes | None) -> Path:
    """A copy of the file with entries replaced, added, or (None) taken away."""
    with zipfile.ZipFile(file) as archive:
        old = {name: archive.read(name) for name in archive.namelist()}
    spoilt = file.with_name("spoilt.zip")
    with zipfile.ZipFile(spoilt, "w") as archive:
        for name, data in (old | entries).items():
            if data is not None:
                archive.writestr(name, data)
    return spoilt


def refused(path: Path, home: Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        import_bundle(path, home)
    assert not home.exists() or list(home.iterdir()) == []


def test_round_trip_keeps_weights(model: Path, file: Path, tmp_path: Path) -> None:
    imported = import_bundle(file, tmp_path / "Modelle")
    assert imported == tmp_path / "Modelle/Nieren 1"
    weights = {name: data for name, data in content(model).items() if name.endswith(".safetensors")}
    assert {name: data for name, data in content(imported).items() if name != "model.json"} == weights
    assert ModelBundle.load(imported).schema == ModelBundle.load(model).schema
    check_bundle(imported)


def test_names_of_scans_stay_at_home(file: Path, tmp_path: Path) -> None:
    imported = import_bundle(file, tmp_path / "home")
    text = (imported / "model.json").read_text(encoding="utf-8")
    assert "Müller" not in text and "Berta" not in text
    assert json.loads(text)["provenance"]["atlas_count"] == 2
    assert b"M\xc3\xbcller" not in file.read_bytes()


def test_second_model_of_a_name_gets_a_number(file: Path, tmp_path: Path) -> None:
    import_bundle(file, tmp_path / "home")
    assert import_bundle(file, tmp_path / "home").name == "Nieren 1 2"


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/tmp/evil.safetensors", "sub/x.safetensors", "..\\x.safetensors", "run.py", "x.pt"]
)
def test_other_files_are_refused(file: Path, tmp_path: Path, name: str) -> None:
    refused(spoil(file, **{name: b"x"}), tmp_path / "home", "not part of a model")
    assert not (tmp_path / "evil.safetensors").exists()


def test_link_is_refused(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        entry = zipfile.ZipInfo("link.safetensors")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    refused(file, tmp_path / "home", "not part of a model")


def test_name_twice_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("model.json", "{}")
    refused(file, tmp_path / "home", "one twice")


def test_too_many_files_are_refused(file: Path, tmp_path: Path) -> None:
    refused(spoil(file, **{f"a{n}.safetensors": b"x" for n in range(30)}), tmp_path / "home", "too many")


def test_bomb_is_refused_before_it_is_unpacked(file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("brbs.bundle_file.LARGEST_MODEL", 10_000)
    refused(file, tmp_path / "home", "would unpack")


def test_long_description_is_refused(file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("brbs.bundle_file.LARGEST_DESCRIPTION", 10)
    refused(file, tmp_path / "home", "description")


@pytest.mark.parametrize("data, match", [
    (b"", "damaged"),
    (b"\xff" * 100, "header is too long"),
    ((2).to_bytes(8, "little") + b"{}" + b"rest", "does not fit"),
    ((9).to_bytes(8, "little") + b'{"a": []}', "damaged"),
])  # fmt: skip
def test_weights_that_are_none_are_refused(file: Path, tmp_path: Path, data: bytes, match: str) -> None:
    with zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if name.startswith("segmentation"))
    refused(spoil(file, **{name: data}), tmp_path / "home", match)


@pytest.mark.parametrize("description, match", [
    (b"{", "cannot be read"),
    (b'{"format": 99}', "newer"),
    (b'{"format": 1}', "name its weights"),
    (b'{"format": 1, "files": {"segmentation": "../x.safetensors"}}', "name its weights"),
    (b'{"format": 1, "files": {"segmentation": "model.json"}}', "no weights"),
    (b'{"format": 1, "files": {"segmentation": "gone.safetensors"}}', "missing"),
    (None, "holds no model"),
])  # fmt: skip
def test_description_is_checked(file: Path, tmp_path: Path, description: bytes | None, match: str) -> None:
    refused(spoil(file, **{"model.json": description}), tmp_path / "home", match)


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 broken")
    refused(tmp_path / "x.zip", tmp_path / "home", "no model file")
    refused(tmp_path / "gone.zip", tmp_path / "home", "no such file")


def test_export_of_a_damaged_model_writes_nothing(model: Path, tmp_path: Path) -> None:
    next(model.glob("registration-*")).write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        export_bundle(model, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
