"""Finding atlases, scans and lone label maps in folders of every layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brbs.errors import InputError
from brbs.pairing import find_pairs, pair_files

LABEL_NAMES = [
    "Fall ä.seg.nrrd",
    "Fall ä-label.nii.gz",
    "Fall ä_label.nrrd",
    "Fall ä-labels.nrrd",
    "Fall ä_labels.mha",
    "Fall ä-seg.nrrd",
    "Fall ä_SEG.nii",
    "Fall ä.seg.nii.gz",
    "Fall ä_mask.nii.gz",
    "fall ä-Mask.NII.GZ",
    "Fall ä-segmentation.nrrd",
    "Fall ä Segmentation.seg.nrrd",
    "Fall ä-label.seg.nrrd",
    "label_Fall ä.nii.gz",
    "Seg-Fall ä.nrrd",
    "segmentation Fall ä.nrrd",
]


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def relative(folder: Path) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    found = find_pairs(folder)

    def name(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    pairs = [(name(atlas.image), name(atlas.labels)) for atlas in found.atlases]
    return pairs, [name(path) for path in found.scans], [name(path) for path in found.orphans]


@pytest.mark.parametrize("labels", LABEL_NAMES)
def test_a_label_map_beside_its_scan(tmp_path: Path, labels: str) -> None:
    folder = put(tmp_path / "Köpfe 1", "Fall ä.nii.gz", "Fall b.nrrd", labels, "notes.txt")
    assert relative(folder) == ([("Fall ä.nii.gz", labels)], ["Fall b.nrrd"], [])


def test_chosen_files_pair_by_name(tmp_path: Path) -> None:
    names = ("images/a.nii.gz", "labels/a.seg.nrrd", "b.nrrd", "c_mask.nrrd", "notes.txt")
    folder = put(tmp_path, *names)
    found = pair_files([folder / name for name in names])
    assert [(atlas.image.name, atlas.labels.name) for atlas in found.atlases] == [("a.nii.gz", "a.seg.nrrd")]
    assert ([path.name for path in found.scans], [path.name for path in found.orphans]) == (["b.nrrd"], ["c_mask.nrrd"])
    with pytest.raises(InputError, match="none of these files"):
        pair_files([folder / "notes.txt"])


def test_words_within_a_name_do_not_make_a_label_map(tmp_path: Path) -> None:
    names = ["labelled.nrrd", "masked brain.nrrd", "seg.nrrd", "unmask.nrrd"]
    assert relative(put(tmp_path, *names)) == ([], names, [])


def test_a_label_map_without_scan_is_told(tmp_path: Path) -> None:
    folder = put(tmp_path, "a.nii", "a_mask.nii", "b_mask.nii", "Segmentation.seg.nrrd")
    assert relative(folder) == ([("a.nii", "a_mask.nii")], [], ["Segmentation.seg.nrrd", "b_mask.nii"])
    assert relative(put(tmp_path / "only", "a.seg.nrrd")) == ([], [], ["a.seg.nrrd"])


def test_sub_folders_of_images_and_labels(tmp_path: Path) -> None:
    put(tmp_path, "Images/a.nii.gz", "Images/B.nrrd", "Images/c.mha", "unlabeled/d.nii", "loose.nrrd")
    put(tmp_path, "LABELS/a.seg.nrrd", "LABELS/b_label.nrrd", "LABELS/z.nrrd")
    pairs = [("Images/B.nrrd", "LABELS/b_label.nrrd"), ("Images/a.nii.gz", "LABELS/a.seg.nrrd")]
    assert relative(tmp_path) == (pairs, ["Images/c.mha", "unlabeled/d.nii"], ["LABELS/z.nrrd"])


def test_images_without_a_folder_of_label_maps_are_scans(tmp_path: Path) -> None:
    assert relative(put(tmp_path, "images/a.nii", "images/b.nii")) == ([], ["images/a.nii", "images/b.nii"], [])


def test_a_data_set_of_nnunet(tmp_path: Path) -> None:
    put(tmp_path, "imagesTr/c_001_0000.nii.gz", "imagesTr/c_002_0000.nii.gz", "imagesTs/c_003_0000.nii.gz")
    put(tmp_path, "labelsTr/c_001.nii.gz")
    pairs = [("imagesTr/c_001_0000.nii.gz", "labelsTr/c_001.nii.gz")]
    assert relative(tmp_path) == (pairs, ["imagesTr/c_002_0000.nii.gz", "imagesTs/c_003_0000.nii.gz"], [])
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "T2"}}))
    with pytest.raises(InputError, match=r"dataset\.json: has 2 channels a case"):
        find_pairs(tmp_path)


def test_what_could_be_meant_in_two_ways_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a_mask\.nii: belongs to the same scan as a\.seg\.nrrd; keep one"):
        find_pairs(put(tmp_path / "labels twice", "a.nii", "a.seg.nrrd", "a_mask.nii"))
    with pytest.raises(InputError, match=r"a\.nrrd: has the same name as a\.nii; keep one"):
        find_pairs(put(tmp_path / "scan twice", "a.nii", "a.nrrd", "a_mask.nii"))


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: no such folder"):
        find_pairs(tmp_path / "gone")
    with pytest.raises(InputError, match="empty: holds no scans"):
        find_pairs(put(tmp_path / "empty", "readme.txt"))
