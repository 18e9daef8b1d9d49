"""Which scans of a folder are segmented, and where their label maps go."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from brbs.errors import InputError
from brbs.scan_files import check_not_among_scans, folder_scans, label_map_files, listed_scans
from brbs.study import by_name, pair_folders


def touched(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def targets(scans: list[Path], suffix: str | None = None) -> list[str]:
    return [path.name for _, path in label_map_files(scans, "out", suffix)]


def test_names_of_one_folder_need_no_folder_to_be_told_apart(tmp_path: Path) -> None:
    scans = touched(tmp_path, "A.nii.gz", "a.nii.gz", "a.nrrd")
    assert targets(scans) == ["A.nii.gz", "a.nii.gz", "a.nrrd"]
    with pytest.raises(InputError, match="different names"):
        targets(scans, ".mha")


def test_names_of_several_folders_are_preceded_by_those_that_differ(tmp_path: Path) -> None:
    scans = [*touched(tmp_path / "x/one", "a.nii.gz", "b.nii.gz"), *touched(tmp_path / "x/two", "A.nii.gz")]
    assert targets(scans) == ["one a.nii.gz", "b.nii.gz", "two A.nii.gz"]


def test_segmentations_beside_their_scans_are_no_scans(tmp_path: Path) -> None:
    scans = touched(tmp_path, "a.nii.gz", "b.nii.gz")
    touched(tmp_path, "a.seg.nrrd", "B.SEG.NRRD")
    assert folder_scans(tmp_path) == scans
    check_not_among_scans(label_map_files(scans, tmp_path, ".seg.nrrd"))
    with pytest.raises(InputError, match="taken for scans"):
        check_not_among_scans(label_map_files(scans, tmp_path, ".nrrd"))


@pytest.mark.parametrize("content", [b"a\0b.nii.gz\n", b"\xff\xfe\x00", b" \n\n"])
def test_a_list_that_names_no_files_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match="list.txt"):
        listed_scans(tmp_path / "list.txt")


def test_a_list_keeps_odd_names_whole(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffein\u2028Name.nii.gz\r\n\nb.nrrd".encode())
    assert listed_scans(tmp_path / "list.txt") == [tmp_path / "ein\u2028Name.nii.gz", tmp_path / "b.nrrd"]


def test_accents_pair_however_they_are_stored(tmp_path: Path) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "Größe é") for form in ("NFC", "NFD"))
    images = touched(tmp_path / "images", f"{taken_apart}.nii.gz")
    labels = touched(tmp_path / "labels", f"{composed}.nrrd")
    (pair,) = pair_folders(tmp_path / "images", tmp_path / "labels")
    assert (pair.image, pair.labels) == (images[0], labels[0])
    with pytest.raises(InputError, match="same name"):
        by_name([*images, *labels])
