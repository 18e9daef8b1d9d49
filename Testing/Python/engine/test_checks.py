"""The check of a study: each status with real files, what is remembered, and what it means for a training."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_study import SCHEMA, SETTINGS, on_grid, run, subject, write_study

from brbs import checks
from brbs.checks import FILE_NAME, CheckedItem, check_study, judge, read_checks, trainable
from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.study import Atlas, Study
from brbs.volumes import write_label_map


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two atlases, a validation pair and three unlabeled scans."""
    root = write_study(tmp_path / "Köpfe und mehr")
    study = Study.from_folders(root / "images", root / "labels", root / "unlabeled", SETTINGS)
    for kind in ("images/atlas 0.nii.gz", "labels/atlas 0.seg.nrrd"):
        shutil.copy(root / kind, root / kind.replace("atlas 0", "held back"))
    study.validation = [Atlas(root / "images/held back.nii.gz", root / "labels/held back.seg.nrrd")]
    study.save(root)
    return root


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose voxels are read, as they are."""
    names: list[str] = []

    def told(read):
        return lambda path: names.append(path.name) or read(path)

    monkeypatch.setattr(checks, "read_image", told(checks.read_image))
    monkeypatch.setattr(checks, "read_label_map", told(checks.read_label_map))
    return names


def check_one(folder: Path, name: str) -> CheckedItem:
    """What a check finds of the item whose scan has that name; the others must not suffer."""
    items = {item.image.name: item for item in check_study(folder)}
    assert len(items) == 6
    found = items.pop(name)
    assert all(item.usable for item in items.values())
    return found


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / FILE_NAME).read_text(encoding="utf-8").splitlines()]


def save_study(folder: Path, **changes) -> Study:
    study = replace(Study.load(folder), **changes)
    study.save(folder)
    return study


# Each status, with files


def test_good_files_are_ready_and_described(folder: Path) -> None:
    items = check_study(folder)
    assert [item.role for item in items] == ["atlas", "atlas", "validation", "unlabeled", "unlabeled", "unlabeled"]
    assert all((item.status, item.message, item.usable) == ("ready", "", True) for item in items)
    atlas, scan = items[0], items[-1]
    assert (atlas.size, atlas.spacing, atlas.orientation) == ((16, 20, 16), (1.0, 1.5, 2.0), "LPS")
    assert atlas.extent == (16.0, 30.0, 32.0)
    assert [(label.value, label.name) for label in atlas.structures] == [(3, "Hülle"), (70, "Kern")]
    np.testing.assert_allclose(atlas.structures[0].colour, (0.9, 0.4, 0.3), atol=0.01)
    assert scan.labels is None and scan.structures == () and scan.size == (16, 20, 16)


def test_geometry_is_told_in_the_patient_s_axes(folder: Path) -> None:
    path = folder / "unlabeled/scan 100.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "SRA"), str(path))
    found = check_one(folder, path.name)
    np.testing.assert_allclose(found.spacing, (2.0, 1.0, 1.5))
    np.testing.assert_allclose(found.extent, (16, 30, 32))
    assert (found.orientation, found.size) == ("SRA", (16, 16, 20))


@pytest.mark.parametrize("name", ["images/atlas 1.nii.gz", "labels/atlas 1.seg.nrrd"])
def test_a_file_that_is_gone_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    found = check_one(folder, "atlas 1.nii.gz")
    assert found.status == "missing" and not found.usable and found.size is None
    assert found.message.startswith(str(folder / name)) and "put it back" in found.message


def test_a_pair_on_two_grids_is_told_with_its_structures(folder: Path) -> None:
    labels = on_grid(subject(1)[1], (1.0, 1.5, 2.1))
    write_label_map(labels, folder / "labels/atlas 1.seg.nrrd", SCHEMA.meta)
    found = check_one(folder, "atlas 1.nii.gz")
    assert found.status == "geometry" and not found.usable
    assert "spacing (1, 1.5, 2.1) differs" in found.message and "resample" in found.message
    assert found.size == (16, 20, 16) and [label.value for label in found.structures] == [3, 70]


def test_damaged_and_senseless_files_are_unusable(folder: Path) -> None:
    scan, atlas = folder / "unlabeled/scan 101.nii.gz", folder / "images/atlas 0.nii.gz"
    whole = scan.read_bytes()
    scan.write_bytes(whole[:300])
    found = check_one(folder, scan.name)
    assert found.status == "unusable" and str(scan) in found.message and found.orientation == ""
    scan.write_bytes(whole)
    sitk.WriteImage(on_grid(np.full((16, 20, 16), 7.0)), str(atlas))
    found = check_one(folder, atlas.name)
    assert found.status == "unusable" and "every voxel has the same value" in found.message


def test_a_label_map_of_background_only_is_unusable(folder: Path) -> None:
    sitk.WriteImage(on_grid(np.zeros((16, 20, 16), np.uint8)), str(folder / "labels/held back.seg.nrrd"))
    found = check_one(folder, "held back.nii.gz")
    assert found.status == "unusable" and "background only" in found.message and found.size == (16, 20, 16)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError(), RuntimeError("odd\nDisk")])
def test_a_file_that_fails_in_another_way_stops_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    read = checks.read_image

    def fail(path: Path) -> sitk.Image:
        if path.name == "scan 102.nii.gz":
            raise error
        return read(path)

    monkeypatch.setattr(checks, "read_image", fail)
    found = check_one(folder, "scan 102.nii.gz")
    assert found.status == "unusable" and "cannot be read" in found.message and "\n" not in found.message


# What is remembered


def test_a_second_check_reads_nothing_and_a_changed_file_is_read_again(folder: Path, read_files: list[str]) -> None:
    first = check_study(folder)
    assert len(read_files) == 9
    read_files.clear()
    assert check_study(folder) == first and not read_files
    changed = folder / "labels/atlas 1.seg.nrrd"
    write_label_map(on_grid(subject(1)[1]), changed)  # without names
    assert check_study(folder) != first
    assert read_files == ["atlas 1.nii.gz", "atlas 1.seg.nrrd"]
    read_files.clear()
    scan = folder / "unlabeled/scan 100.nii.gz"
    os.utime(scan, ns=(0, 0))  # the same size
    check_study(folder)
    assert read_files == [scan.name]


def test_a_file_that_came_back_is_read(folder: Path, read_files: list[str]) -> None:
    scan = folder / "unlabeled/scan 100.nii.gz"
    scan.rename(folder / "away")
    assert check_one(folder, scan.name).status == "missing"
    (folder / "away").rename(scan)
    read_files.clear()
    assert check_one(folder, scan.name).status == "ready" and read_files == [scan.name]


def test_each_item_is_known_as_soon_as_it_has_been_looked_at(folder: Path) -> None:
    study, seen = Study.load(folder), []
    check_study(folder, lambda done, what: seen.append((len(read_checks(folder, study)), done, what)))
    assert [count for count, _, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert seen[0][1:] == (0.0, "checking atlas 0.nii.gz") and seen[3][1] == 0.5
    assert len(read_checks(folder, study)) == 6


def test_lines_are_as_others_may_read_them(folder: Path) -> None:
    check_study(folder)
    atlas, scan = lines(folder)[0], lines(folder)[-1]
    path = folder / "images/atlas 0.nii.gz"
    assert atlas["image"] == str(path) and atlas["role"] == "atlas" and atlas["status"] == "ready"
    assert atlas["signature"][0] == [path.stat().st_size, path.stat().st_mtime_ns] and len(atlas["signature"]) == 2
    assert atlas["structures"][1]["name"] == "Kern" and atlas["orientation"] == "LPS"
    assert scan["labels"] is None and len(scan["signature"]) == 1


def test_lines_stay_raw_and_of_current_items_only(folder: Path) -> None:
    study = save_study(folder, schema=LabelSchema((*SCHEMA.labels, Label(9, "Rand", (1, 0, 0)))))
    assert check_study(folder)[0].status == "structure" and lines(folder)[0]["status"] == "ready"
    save_study(folder, unlabeled=study.unlabeled[:1], validation=[])
    check_study(folder)
    assert len(lines(folder)) == 3
    save_study(folder, atlases=[], validation=study.atlases[:1])  # another role now
    assert [item.role for item in check_study(folder)] == ["validation", "unlabeled"]


def test_broken_lines_and_those_of_other_versions_are_left_out(folder: Path, read_files: list[str]) -> None:
    study, path = Study.load(folder), folder / FILE_NAME
    assert read_checks(folder, study) == {}
    check_study(folder)
    good = path.read_text(encoding="utf-8").splitlines()
    newer = json.dumps({**json.loads(good[1]), "format": 99})
    path.write_text("\n".join([good[0], "[1, 2]", '{"format": 1}', "", newer, good[2][:40]]), encoding="utf-8")
    assert [item.image.name for item in read_checks(folder, study).values()] == ["atlas 0.nii.gz"]
    read_files.clear()
    check_study(folder)
    assert len(read_files) == 7 and len(lines(folder)) == 6


def test_items_are_found_by_the_study_s_own_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_study(folder)
    monkeypatch.chdir(folder)
    study = Study([Atlas(Path("images/atlas 0.nii.gz"), Path("labels/atlas 0.seg.nrrd"))], [], SCHEMA, SETTINGS)
    known = read_checks(folder, study)
    assert known[study.atlases[0].image, study.atlases[0].labels].status == "ready"


# What it means for the study


def item(role: str = "atlas", name: str = "a", **changes) -> CheckedItem:
    labels = None if role == "unlabeled" else Path(f"{name}.seg.nrrd")
    structures = () if labels is None else SCHEMA.labels
    facts = {"size": (10, 10, 10), "spacing": (1.0, 2.0, 3.0), "extent": (10.0, 20.0, 30.0), "orientation": "LPS"}
    given = {"status": "ready", "structures": structures, **facts, **changes}
    return CheckedItem(role, Path(f"{name}.nrrd"), labels, **given)


def test_an_atlas_that_lacks_a_structure_is_usable_with_a_warning() -> None:
    items = [item(), item(name="b", structures=SCHEMA.labels[:1]), item("validation", "c", structures=())]
    found = judge(items, SCHEMA)
    assert [(one.status, one.usable) for one in found] == [("ready", True), ("structure", True), ("ready", True)]
    assert found[1].message.startswith("b.seg.nrrd: lacks Kern (70);")


def test_a_changed_schema_changes_the_judgement_without_reading(folder: Path, read_files: list[str]) -> None:
    check_study(folder)
    read_files.clear()
    known = read_checks(folder, Study.load(folder)).values()
    more = LabelSchema((*SCHEMA.labels, Label(9, "Rand", (1, 0, 0))))
    assert [one.status for one in judge(known, more)] == ["structure"] * 2 + ["ready"] * 4
    assert all(one.status == "ready" for one in judge(judge(known, SCHEMA), SCHEMA))
    assert all(one.status == "ready" for one in judge(known, LabelSchema(())))
    fewer = judge(known, LabelSchema(SCHEMA.labels[:1]))
    assert [one.status for one in fewer] == ["unusable"] * 3 + ["ready"] * 3
    assert "has Kern (70), unknown to the study" in fewer[0].message and not read_files


def test_swapped_names_are_refused() -> None:
    swapped = LabelSchema((replace(SCHEMA.labels[0], name="Kern"), replace(SCHEMA.labels[1], name="Hülle")))
    found = judge([item(structures=swapped.labels)], SCHEMA)[0]
    assert found.status == "unusable" and "label 3 is 'Kern' here, but in other atlases 'Hülle'" in found.message


def test_structures_of_one_name_stop_a_training_until_they_are_told_apart() -> None:
    first, second = SCHEMA.labels
    shared = LabelSchema((first, replace(second, name="hülle")))
    atlas, scan = item(structures=shared.labels), item("unlabeled", "s")
    found = judge([atlas, scan], shared)
    told = trainable(study_of(atlas, scan, schema=shared), found)
    assert told.startswith("a.seg.nrrd: structures 3 and 70 are both called 'hülle'; give each a name of its own")
    renamed = judge([atlas, scan], SCHEMA)
    assert trainable(study_of(atlas, scan), renamed) is None, "the file still has its old names"


def test_atlases_with_other_values_for_the_same_names_are_refused() -> None:
    others = LabelSchema(tuple(replace(label, value=label.value + 1) for label in SCHEMA.labels))
    items = [item(), item(name="b", structures=others.labels)]
    found = judge(items, SCHEMA.merge(others))
    assert [one.status for one in found] == ["unusable"] * 2
    assert found[0].message.startswith("a.seg.nrrd: structures 3 and 4 are both called 'Hülle'")


def test_scans_unlike_the_atlases_are_odd() -> None:
    atlases = [item(name="a"), item(name="b", extent=(14.0, 20.0, 30.0)), item(name="c", orientation="RAS")]
    scans = [
        item("unlabeled", "like", extent=(19.0, 39.0, 16.0)),
        item("unlabeled", "turned", orientation="RAS"),
        item("unlabeled", "wide", extent=(10.0, 41.0, 30.0)),
        item("unlabeled", "small", extent=(10.0, 20.0, 14.9)),
    ]
    found = judge([*atlases, *scans], SCHEMA)
    assert [one.status for one in found[3:]] == ["ready", "odd", "odd", "odd"]
    assert all(one.usable for one in found)
    assert "run RAS, those of most atlases LPS" in found[4].message
    assert "wide.nrrd: shows 10 x 41 x 30 mm, the atlases 10 x 20 x 30 mm" in found[5].message
    assert all(one.status == "ready" for one in judge(scans, SCHEMA))  # nothing to compare with


def test_what_cannot_be_used_is_not_judged_nor_compared_with() -> None:
    gone = item(name="gone", status="missing", message="gone", extent=None, orientation="")
    broken = item("unlabeled", "broken", status="unusable", message="broken", extent=None)
    assert judge([gone, broken], SCHEMA) == [gone, broken]


def study_of(*items: CheckedItem, schema: LabelSchema = SCHEMA) -> Study:
    pairs = {role: [Atlas(*one.key) for one in items if one.role == role] for role in ("atlas", "validation")}
    scans = [one.image for one in items if one.role == "unlabeled"]
    return Study(pairs["atlas"], scans, schema, SETTINGS, pairs["validation"])


def test_the_first_reason_against_a_training_is_told() -> None:
    atlas, scan, held_back = item(), item("unlabeled", "s"), item("validation", "v")
    bad = item("validation", "v", status="geometry", message="v.seg.nrrd: size differs")
    assert trainable(study_of(scan), [scan]).startswith("There is no atlas yet")
    assert trainable(study_of(atlas, scan, schema=LabelSchema(())), [atlas, scan]).startswith("There are no structures")
    assert trainable(study_of(atlas), [atlas]).startswith("There is no unlabeled scan yet")
    assert trainable(study_of(atlas, scan), [atlas]) == "1 of 2 scans is still being checked."
    assert trainable(study_of(atlas, scan, held_back), [atlas]) == "2 of 3 scans are still being checked."
    assert trainable(study_of(atlas, scan, bad), [atlas, scan, bad]) == "v.seg.nrrd: size differs"
    assert trainable(study_of(atlas, scan, held_back), [atlas, scan, held_back]) is None


def test_several_bad_files_are_counted_and_warnings_do_not_stop() -> None:
    bad = [item("unlabeled", name, status="missing", message=f"{name}: no such file") for name in ("x", "y", "z")]
    assert trainable(study_of(item(), *bad), [item(), *bad]) == "x: no such file (2 more cannot be used)"
    odd = [item(structures=SCHEMA.labels[:1]), item("unlabeled", "s", orientation="RAS")]
    assert trainable(study_of(*odd), odd) is None
    stranger = item(structures=(*SCHEMA.labels, Label(9, "Rand", (1, 0, 0))))
    assert "unknown to the study" in trainable(study_of(stranger, odd[1]), judge([stranger, odd[1]], SCHEMA))


# The command


def test_command_tells_what_deserves_attention(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "unlabeled/scan 100.nii.gz").write_bytes(b"no image")
    caplog.set_level("INFO")
    assert run(["check", "--study", folder]) == 3
    told = [record.getMessage() for record in caplog.records]
    assert told[-1] == "5 of 6 can be used" and len(told) == 2
    assert told[0].startswith("unusable: ") and "scan 100.nii.gz" in told[0]
    assert len(lines(folder)) == 6
    (folder / "unlabeled/scan 100.nii.gz").unlink()
    (folder / "unlabeled/scan 101.nii.gz").rename(folder / "unlabeled/scan 100.nii.gz")
    assert run(["check", "--study", folder]) == 3  # a scan is missing now


def test_command_needs_a_study(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["check", "--study", tmp_path]) == 2
    assert "no study, as there is no study.json" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / FILE_NAME).mkdir()
    with pytest.raises(InputError, match=r"checks\.jsonl: cannot be written"):
        check_study(folder)
