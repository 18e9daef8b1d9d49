"""Studies from folders and data sets, their structures, and study.json."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_study import on_grid, run, subject, train_arguments, write_study

from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.settings import Settings
from brbs.study import Atlas, Study
from brbs.volumes import write_image, write_label_map

SETTINGS = Settings()


def put_image(path: Path) -> None:
    write_image(sitk.GetImageFromArray(np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)), path)


def put_labels(path: Path, values: Sequence[int], meta: Sequence[tuple] = ()) -> None:
    array = np.zeros((4, 5, 6), np.int16)
    array.flat[: len(values)] = values
    write_label_map(sitk.GetImageFromArray(array), path, meta)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two atlases and one unlabeled scan in a folder with blanks and umlauts."""
    root = tmp_path / "Studie für Müller"
    for name in ("Fall ä 1", "Fall 2"):
        put_image(root / "images" / f"{name}.nii.gz")
    put_labels(root / "labels" / "Fall ä 1.nrrd", [3, 7])
    put_labels(root / "labels" / "Fall 2.nii.gz", [3, 7])
    put_image(root / "unlabeled" / "Scan ö.mha")
    return root


def from_folders(root: Path) -> Study:
    return Study.from_folders(root / "images", root / "labels", root / "unlabeled", SETTINGS)


def test_pairs_by_name_whatever_the_format(root: Path) -> None:
    study = from_folders(root)
    assert [(atlas.name, atlas.image.name, atlas.labels.name) for atlas in study.atlases] == [
        ("Fall 2", "Fall 2.nii.gz", "Fall 2.nii.gz"),
        ("Fall ä 1", "Fall ä 1.nii.gz", "Fall ä 1.nrrd"),
    ]
    assert study.unlabeled == [root / "unlabeled" / "Scan ö.mha"]
    assert [(label.value, label.name) for label in study.schema.labels] == [(3, "Label 3"), (7, "Label 7")]
    assert study.schema.labels[0].colour != study.schema.labels[1].colour


def test_differing_label_sets_are_merged_and_reported(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_labels(root / "labels" / "Fall 2.nii.gz", [-2, 3])
    study = from_folders(root)
    assert study.schema.values == (-2, 3, 7)
    assert "Fall 2.nii.gz: lacks label 7" in caplog.text
    assert "Fall ä 1.nrrd: lacks label -2" in caplog.text


def test_segment_names_win_over_default_ones(root: Path) -> None:
    (root / "labels" / "Fall ä 1.nrrd").unlink()
    put_labels(
        root / "labels" / "Fall ä 1.seg.nrrd", [3, 7], [(3, "Großhirn", (1, 0, 0), "a~b"), (9, "nowhere", (0,) * 3, "")]
    )
    labels = from_folders(root).schema.labels
    assert labels[0] == Label(3, "Großhirn", (1.0, 0.0, 0.0), "a~b")
    assert [label.value for label in labels] == [3, 7]  # 9 has no voxel in any atlas


def test_swapped_segment_values_are_refused(root: Path) -> None:
    shutil.rmtree(root / "labels")
    red = (1, 0, 0)
    put_labels(root / "labels" / "Fall 2.seg.nrrd", [1, 2], [(1, "Niere", red, ""), (2, "Tumor", red, "")])
    put_labels(root / "labels" / "Fall ä 1.seg.nrrd", [1, 2], [(1, "Tumor", red, ""), (2, "Niere", red, "")])
    with pytest.raises(InputError, match="Fall ä 1.seg.nrrd: label 1 is 'Tumor' here, but in other atlases 'Niere'"):
        from_folders(root)


RED = (1, 0, 0)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({1: "Niere", 2: "Niere"}, {1: "Niere", 2: "Niere"}, "structures 1 and 2 are both called 'Niere'"),
        ({1: "Leber", 2: "Milz"}, {3: "Leber", 4: "Milz"}, "structures 1 and 3 are both called 'Leber'"),
        ({1: "Leber"}, {2: "LEBER"}, "structures 1 and 2 are both called 'LEBER'"),
    ],
)
def test_two_structures_of_one_name_are_refused(root: Path, first: dict, second: dict, told: str) -> None:
    """All results are told by name; both of them would be told as one."""
    shutil.rmtree(root / "labels")
    for case, names in (("Fall 2", first), ("Fall ä 1", second)):
        meta = [(value, name, RED, "") for value, name in names.items()]
        put_labels(root / f"labels/{case}.seg.nrrd", list(names), meta)
    with pytest.raises(InputError, match=f"labels.Fall 2.seg.nrrd: {told}; give each a name of its own"):
        from_folders(root)


def test_one_name_for_two_values_in_dataset_json_is_refused(root: Path) -> None:
    (root / "dataset.json").write_text(json.dumps({"labels": {"3": "Herz", "7": "Herz"}}), encoding="utf-8")
    with pytest.raises(InputError, match="structures 3 and 7 are both called 'Herz'"):
        from_folders(root)


@pytest.mark.parametrize("place", [".", "labels"])
@pytest.mark.parametrize(
    "labels", [{"0": "background", "3": "Herz", "7": "Lunge"}, {"background": 0, "Herz": 3, "Lunge": 7}]
)
def test_dataset_json_gives_names(root: Path, place: str, labels: dict) -> None:
    (root / place / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    assert [label.name for label in from_folders(root).schema.labels] == ["Herz", "Lunge"]


def test_dataset_json_of_other_values_is_left_alone(root: Path) -> None:
    (root / "dataset.json").write_text(json.dumps({"labels": {"3": "Herz"}}), encoding="utf-8")
    assert [label.name for label in from_folders(root).schema.labels] == ["Label 3", "Label 7"]


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("labels/Fall 2.nii.gz", "images.Fall 2.nii.gz: has no label map"),
        ("images/Fall 2.nii.gz", "labels.Fall 2.nii.gz: has no image"),
        ("unlabeled/Scan ö.mha", "unlabeled: holds no unlabeled scans"),
        ("unlabeled", "unlabeled: no such folder"),
        ("labels", "labels: no such folder"),
        ("images", "images: no such folder"),
    ],
)
def test_missing_things_are_named(root: Path, gone: str, message: str) -> None:
    remove(root / gone)
    with pytest.raises(InputError, match=message):
        from_folders(root)


def test_no_atlases_at_all(root: Path) -> None:
    for folder in ("images", "labels"):
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    with pytest.raises(InputError, match="images: holds no annotated scan"):
        from_folders(root)


def test_one_name_twice_is_refused(root: Path) -> None:
    put_labels(root / "labels" / "Fall 2.seg.nrrd", [3])
    with pytest.raises(InputError, match="same name"):
        from_folders(root)


def test_scan_given_as_label_map_is_refused(root: Path) -> None:
    array = np.arange(7 * 8 * 9, dtype=np.int16).reshape(7, 8, 9)
    write_image(sitk.GetImageFromArray(array), root / "labels" / "Fall 2.nii.gz")
    with pytest.raises(InputError, match="Fall 2.nii.gz: has 503 different values"):
        from_folders(root)


def put_dataset(root: Path, description: dict, channel: str = "") -> Path:
    folder = root / "Task 04 Hüfte"
    for name in ("fall_1", "fall_2", "fall_3"):
        put_image(folder / "imagesTr" / f"{name}{channel}.nii.gz")
    for name in ("fall_1", "fall_3"):
        put_labels(folder / "labelsTr" / f"{name}.nii.gz", [1, 2])
    put_image(folder / "imagesTs" / f"fall_4{channel}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


DECATHLON = {"labels": {"0": "background", "1": "vorn", "2": "hinten"}, "modality": {"0": "MRI"}}
NNUNET = {"labels": {"background": 0, "vorn": 1, "hinten": 2}, "channel_names": {"0": "MRI"}, "file_ending": ".nii.gz"}


@pytest.mark.parametrize(("description", "channel"), [(DECATHLON, ""), (NNUNET, "_0000")])
def test_published_data_sets(tmp_path: Path, description: dict, channel: str) -> None:
    study = Study.from_dataset(put_dataset(tmp_path, description, channel), SETTINGS)
    assert [(atlas.image.name, atlas.labels.name) for atlas in study.atlases] == [
        (f"fall_{i}{channel}.nii.gz", f"fall_{i}.nii.gz") for i in (1, 3)
    ]
    assert [path.name for path in study.unlabeled] == [f"fall_{i}{channel}.nii.gz" for i in (2, 4)]
    assert [(label.value, label.name) for label in study.schema.labels] == [(1, "vorn"), (2, "hinten")]


def test_data_set_with_unusable_content_is_refused(tmp_path: Path) -> None:
    folder = put_dataset(tmp_path, {**NNUNET, "channel_names": {"0": "T1", "1": "T2"}}, "_0000")
    with pytest.raises(InputError, match=r"dataset\.json: has 2 channels"):
        Study.from_dataset(folder, SETTINGS)
    put_dataset(tmp_path, NNUNET, "_0000")
    put_labels(folder / "labelsTr" / "fall_9.nii.gz", [1])
    with pytest.raises(InputError, match=r"fall_9\.nii\.gz: has no image"):
        Study.from_dataset(folder, SETTINGS)
    (folder / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"lacks dataset\.json"):
        Study.from_dataset(folder, SETTINGS)


def test_saved_study_can_be_moved_with_its_images(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "scan.nii.gz"
    study = from_folders(root)
    study.settings = replace(SETTINGS, region="labels", spacing=(1.0, 1.0, 2.5))
    study.unlabeled.append(outside)
    study.validation = [study.atlases[0]]
    study.save(root)

    moved = tmp_path / "moved"
    root.rename(moved)
    loaded = Study.load(moved)
    assert loaded.unlabeled == [moved / "unlabeled" / "Scan ö.mha", outside]
    assert loaded.atlases[1] == Atlas(moved / "images" / "Fall ä 1.nii.gz", moved / "labels" / "Fall ä 1.nrrd")
    assert loaded.validation == [loaded.atlases[0]]
    assert (loaded.schema, loaded.settings) == (study.schema, study.settings)
    text = (moved / "study.json").read_text(encoding="utf-8")
    assert "images/Fall ä 1.nii.gz" in text and str(root) not in text


def test_unreadable_study_files_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"there is no study\.json"):
        Study.load(root)
    from_folders(root).save(root)
    path = root / "study.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for text, message in (
        (json.dumps({**content, "format": 2}), "newer"),
        (json.dumps({**content, "atlases": [{"image": "x"}]}), "damaged"),
        (json.dumps({**content, "settings": {"magic": 1}}), r"study\.json: .*magic"),
        (json.dumps({**content, "format": "one"}), "format"),
        (json.dumps(content)[:-20], "cannot be read"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            Study.load(root)


def test_encode_and_decode_are_inverse_for_gaps_and_negative_values() -> None:
    schema = LabelSchema.from_values([40, -3, 7, 0])
    values = np.array([[0, 7], [40, -3]])
    classes = schema.encode(values)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, [[0, 2], [3, 1]])
    decoded = schema.decode(classes)
    assert decoded.dtype == np.int8
    np.testing.assert_array_equal(decoded, values)
    assert schema.class_count == 4
    with pytest.raises(InputError, match="a.nii.gz: label value 8, 99 is unknown"):
        schema.encode(np.array([7, 8, 99]), "a.nii.gz")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int64])
def test_values_of_every_type_are_encoded_alike(kind: type) -> None:
    schema = LabelSchema.from_values([40, -3, 7, 70_000])
    classes = schema.encode(np.array([[7, 40], [0, 7]], kind))
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, [[2, 3], [0, 2]])
    for stranger in (6, 255 if kind == np.uint8 else 4464):  # 70000 without its highest bits
        with pytest.raises(InputError, match=f"label value {stranger} is unknown; known are -3, 7, 40, 70000"):
            schema.encode(np.array([7, stranger], kind))


def test_small_types_are_encoded_in_little_memory() -> None:
    """In a table, without a wider number for each voxel."""
    values, schema = np.full((64, 64, 64), 3, np.uint8), LabelSchema.from_values([3])
    tracemalloc.start()
    classes = schema.encode(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (classes == 1).all() and peak < 3 * values.nbytes


def test_schema_merges_by_value_and_survives_json() -> None:
    one = LabelSchema((Label(4, "Milz", (0.1, 0.2, 0.3), "t"),))
    other = LabelSchema.from_values([9, 4], {4: "spleen"})
    merged = one.merge(other)
    assert [(label.value, label.name) for label in merged.labels] == [(4, "Milz"), (9, "Label 9")]
    assert LabelSchema.from_json(json.loads(json.dumps(merged.to_json()))) == merged


def test_impossible_schemas_are_refused() -> None:
    for values in ([0], [2, 2], range(1, 257)):
        with pytest.raises(InputError):
            LabelSchema(tuple(Label(value, "x", (0, 0, 0)) for value in values))


@pytest.mark.parametrize("value", [70_000, 2**31 - 1])
def test_label_values_beyond_16_bits_come_out_as_they_went_in(value: int, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    for number, path in enumerate(sorted((study / "labels").iterdir())):
        labels = subject(number)[1].astype(np.int32)
        labels[labels == 70] = value
        path.unlink()
        sitk.WriteImage(on_grid(labels), str(study / f"labels/atlas {number}.nii.gz"))
    assert run(train_arguments(study, tmp_path / "model", steps=1)) == 0
    scan, target = study / "unlabeled/scan 100.nii.gz", tmp_path / "out.nrrd"
    assert run(["segment", "--model", tmp_path / "model", "--input", scan, "--output", target, "--device", "cpu"]) == 0
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(target))))) <= {0, 3, value}
    described = json.loads((tmp_path / "model/model.json").read_text(encoding="utf-8"))
    assert [label["value"] for label in described["labels"]] == [3, value]
