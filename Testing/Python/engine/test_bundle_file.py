"""Models in one file: what goes in comes out, names of people stay at home, and nothing else gets in."""

from __future__ import annotations

import json
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_model import tiny_bundle
from tiny_study import content, run

from brbs.bundle_file import check_bundle, export_bundle, import_bundle
from brbs.errors import InputError
from brbs.model import ModelBundle
from brbs.model_preview import PREVIEW_FILE, preview


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "Modell für Müller"
    private = {"atlases": ["Anna Müller", "Berta"], "imported_from": ["Müller.pth"], "study": "/home/müller/Berta"}
    tiny_bundle(provenance=private | {"step": 7, "dice": {"mean": 0.8}}).save(folder)
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
    unpacked = {name: data for name, data in content(imported).items() if name.endswith(".safetensors")}
    assert unpacked == weights and set(content(imported)) == {*weights, "model.json", PREVIEW_FILE}
    assert ModelBundle.load(imported).schema == ModelBundle.load(model).schema
    check_bundle(imported)


def test_names_of_scans_stay_at_home(file: Path, tmp_path: Path) -> None:
    imported = import_bundle(file, tmp_path / "home")
    text = (imported / "model.json").read_text(encoding="utf-8")
    assert "müller" not in text.casefold() and "Berta" not in text
    provenance = json.loads(text)["provenance"]
    assert provenance.pop("versions").keys() >= {"brbs", "torch"}
    assert provenance == {"step": 7, "dice": {"mean": 0.8}, "atlas_count": 2}
    with zipfile.ZipFile(file) as archive:
        packed = b"".join(archive.read(name) for name in archive.namelist())
    assert b"Anna" not in packed and b"Berta" not in packed and not archive.comment


def test_imported_model_can_be_given_on(file: Path, tmp_path: Path) -> None:
    imported = import_bundle(file, tmp_path / "home")
    export_bundle(imported, tmp_path / "again.zip")
    again = import_bundle(tmp_path / "again.zip", tmp_path / "home")
    assert content(again) == content(imported)


def test_training_and_foreign_files_stay_at_home(model: Path, tmp_path: Path) -> None:
    (model / "training").mkdir()
    (model / "training/log.txt").write_text("Anna Müller", encoding="utf-8")
    (model / "notes.txt").write_text("Berta")
    (model / "old-00000000.safetensors").write_bytes(b"of the training before")
    export_bundle(model, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        parts = sorted(name.split("-")[0] for name in archive.namelist())
    assert parts == ["atlases", "model.json", "registration", "segmentation"]


def test_picture_goes_along(model: Path, tmp_path: Path) -> None:
    drawn = preview(model).read_bytes()
    export_bundle(model, tmp_path / "out.zip")
    assert (import_bundle(tmp_path / "out.zip", tmp_path / "home") / PREVIEW_FILE).read_bytes() == drawn


def test_what_is_no_picture_stays_at_home(model: Path, file: Path, tmp_path: Path) -> None:
    (model / PREVIEW_FILE).write_bytes(b"secret")
    export_bundle(model, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert PREVIEW_FILE not in archive.namelist()


def png(width: int, height: int, size: int = 100) -> bytes:
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return start + bytes(range(256)) * (size // 256 + 1)


@pytest.mark.parametrize("picture", [
    b"", b"GIF89a" * 10, png(256, 256, 3 * 2**20), png(60_000, 60_000),
], ids=["empty", "other format", "long", "many pixels"])  # fmt: skip
def test_picture_that_is_none_is_refused(file: Path, tmp_path: Path, picture: bytes) -> None:
    refused(spoil(file, **{PREVIEW_FILE: picture}), tmp_path / "home", "no picture of a model")


def test_second_model_of_a_name_gets_a_number(file: Path, tmp_path: Path) -> None:
    import_bundle(file, tmp_path / "home")
    assert import_bundle(file, tmp_path / "home").name == "Nieren 1 2"


@pytest.mark.parametrize(
    "name",
    ["../evil.safetensors", "/tmp/evil.safetensors", "C:\\evil.safetensors", "..\\x.safetensors", "sub/x.safetensors"]
    + ["sub/", "run.py", "x.pt", "x.json", "x.png", "sub/model.json", "training/last.pt", "..", "x\n.safetensors"],
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


def test_name_twice_but_for_case_is_refused(file: Path, tmp_path: Path) -> None:
    refused(spoil(file, **{"MODEL.json": b"{}"}), tmp_path / "home", "one twice")


def test_weights_that_the_description_does_not_name_are_refused(file: Path, tmp_path: Path) -> None:
    refused(spoil(file, **{"more.safetensors": b"x"}), tmp_path / "home", "'more.safetensors'.*not part of a model")


def patched(file: Path, name: str, offset: int, data: bytes) -> Path:
    """The file with bytes replaced in the directory entry of a name: what no writer would write."""
    content = bytearray(file.read_bytes())
    start = content.rindex(name.encode()) - 46  # the entry's fixed part lies before its name
    assert content[start : start + 4] == b"PK\x01\x02"
    content[start + offset : start + offset + len(data)] = data
    file.write_bytes(content)
    return file


def test_encrypted_file_is_refused(file: Path, tmp_path: Path) -> None:
    refused(patched(file, "model.json", 8, b"\x01\x00"), tmp_path / "home", "not part of a model")


def test_file_without_name_is_refused(file: Path, tmp_path: Path) -> None:
    name = "x.safetensors"
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, b"")
    lengths = struct.pack("<HHH", 0, 0, len(name))  # of name, extra field and comment
    refused(patched(file, name, 28, lengths), tmp_path / "home", "holds '', which is not part of a model")


def test_file_that_is_longer_than_it_says_is_refused(file: Path, tmp_path: Path) -> None:
    refused(patched(file, "model.json", 24, struct.pack("<I", 10)), tmp_path / "home", "damaged")


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing_is_refused(file: Path, tmp_path: Path, packing: int) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("x.safetensors", bytes(1000), compress_type=packing)
    refused(file, tmp_path / "home", "not part of a model")


def test_large_expansion_is_refused(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for part in range(8):
            archive.writestr(f"zeros{part}.safetensors", bytes(2**24))
    refused(file, tmp_path / "home", "times its size")


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
    (b"[" * 100_000, "cannot be read"),
    (b'{"format": "1"}', "no format number"),
    (b"\xff\xfe", "cannot be read"),
    (None, "holds no model"),
])  # fmt: skip
def test_description_is_checked(file: Path, tmp_path: Path, description: bytes | None, match: str) -> None:
    refused(spoil(file, **{"model.json": description}), tmp_path / "home", match)


@pytest.mark.parametrize("change", [
    {"labels": None}, {"labels": []}, {"labels": {}}, {"labels": [{"value": 1}]}, {"provenance": []},
    {"labels": [{"value": 1, "name": 7, "colour": [1, 0, 0]}]}, {"provenance": {"atlases": 3}},
])  # fmt: skip
def test_description_that_cannot_be_shown_is_refused(file: Path, tmp_path: Path, change: dict) -> None:
    with zipfile.ZipFile(file) as archive:
        description = json.loads(archive.read("model.json")) | change
    data = json.dumps(description).encode()
    refused(spoil(file, **{"model.json": data}), tmp_path / "home", "does not describe its (structures|origin)")


def test_random_damage_is_told_in_people_s_words(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    random, refused_files = np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        places = random.integers(0, 400, 2) if random.random() < 0.5 else -random.integers(1, 600, 2)
        for place in places:
            damaged[place] = random.integers(256)
        file.write_bytes(damaged[: None if random.random() < 0.8 else random.integers(len(damaged))])
        try:
            check_bundle(import_bundle(file, tmp_path / "home"))
        except InputError:
            refused_files += 1
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
    assert refused_files > 200


def test_folder_is_checked(model: Path, monkeypatch) -> None:
    check_bundle(model)
    monkeypatch.setattr("brbs.bundle_file.LARGEST_DESCRIPTION", 10)
    with pytest.raises(InputError, match="far too long"):
        check_bundle(model)
    with pytest.raises(InputError, match="no model here"):
        check_bundle(model / "none")


def test_commands(model: Path, tmp_path: Path, caplog) -> None:
    zipped = tmp_path / "Für Berta.zip"
    assert run(["export-model", "--model", model, "--output", zipped]) == 0
    caplog.set_level("INFO", "brbs")
    assert run(["import-model", "--input", zipped, "--output", tmp_path / "Meine Modelle"]) == 0
    assert str(tmp_path / "Meine Modelle" / "Für Berta") in caplog.text
    check_bundle(tmp_path / "Meine Modelle" / "Für Berta")
    assert run(["import-model", "--input", model / "model.json", "--output", tmp_path / "no"]) == 2


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 broken")
    refused(tmp_path / "x.zip", tmp_path / "home", "not a model file")
    refused(tmp_path / "gone.zip", tmp_path / "home", "no such file")
    refused(tmp_path, tmp_path / "home", "not a model file")


def test_export_of_a_damaged_model_writes_nothing(model: Path, tmp_path: Path) -> None:
    next(model.glob("registration-*")).write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        export_bundle(model, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
