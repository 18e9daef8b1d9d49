"""The command line and bad input: the file is named, the exit code is 2, nothing is written or lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk
from limits import no_file_longer_than
from tiny_study import ORIGIN, content, on_grid, run, subject, train_arguments


def rewrite(path: Path, change) -> None:
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(change(image), str(path))


def constant(image: sitk.Image) -> sitk.Image:
    return image * 0 + 7


def with_nan(image: sitk.Image) -> sitk.Image:
    image[3, 3, 3] = float("nan")
    return image


def four_dimensional(image: sitk.Image) -> sitk.Image:
    return sitk.JoinSeries([image, image])


def two_components(image: sitk.Image) -> sitk.Image:
    return sitk.Compose(image, image)


def moved(image: sitk.Image) -> sitk.Image:
    image.SetOrigin((ORIGIN[0] + 2, *ORIGIN[1:]))
    return image


def wider(image: sitk.Image) -> sitk.Image:
    image.SetSpacing((1.0, 1.5, 2.2))
    return image


def flipped(image: sitk.Image) -> sitk.Image:
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return image


def smaller(image: sitk.Image) -> sitk.Image:
    return image[:, :, :-1]


def one_slice(image: sitk.Image) -> sitk.Image:
    return image[:, :, 5:6]


def halves(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(image, sitk.sitkFloat32) + 0.5


def background_only(image: sitk.Image) -> sitk.Image:
    return image * 0


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def plain_labels(path: Path, change=lambda image: image) -> None:
    """Gives an atlas a .nii.gz label map, changed, instead of its .seg.nrrd."""
    atlas = path.name.removesuffix(".nii.gz")
    image = on_grid(subject(int(atlas[-1]))[1])
    path.with_name(f"{atlas}.seg.nrrd").unlink()
    sitk.WriteImage(change(image), str(path))


IMAGE, LABELS, SCAN = "images/atlas 1.nii.gz", "labels/atlas 1.nii.gz", "unlabeled/scan 101.nii.gz"
SPOILT = {
    "image without label": ("images/more.nii.gz", lambda path: shutil.copy(path.with_name("atlas 1.nii.gz"), path)),
    "label without image": ("labels/more.seg.nrrd", lambda path: shutil.copy(path.with_name("atlas 1.seg.nrrd"), path)),
    "no folder": ("unlabeled", shutil.rmtree),
    "no atlases folder": ("images", shutil.rmtree),
    "no unlabeled": ("unlabeled", empty),
    "truncated image": (IMAGE, truncate),
    "truncated scan": (SCAN, truncate),
    "truncated labels": (LABELS, lambda path: (plain_labels(path), truncate(path))),
    "fractional labels": (LABELS, lambda path: plain_labels(path, halves)),
    "background only": (LABELS, lambda path: plain_labels(path, background_only)),
    **{
        f"labels {change.__name__}": (LABELS, lambda path, change=change: plain_labels(path, change))
        for change in (moved, wider, flipped, smaller)
    },
    **{
        f"{change.__name__} {what}": (name, lambda path, change=change: rewrite(path, change))
        for change in (constant, with_nan, four_dimensional, two_components, one_slice)
        for what, name in (("atlas", IMAGE), ("scan", SCAN))
    },
}


@pytest.mark.parametrize("case", SPOILT)
def test_bad_files_are_named_and_nothing_is_written(case: str, own_study: Path, tmp_path: Path, capsys) -> None:
    name, spoil = SPOILT[case]
    spoil(own_study / name)
    assert run(train_arguments(own_study, tmp_path / "out" / "model", "--study", tmp_path / "kept")) == 2
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if line.startswith("brbs: ")]) == 1
    assert str(own_study / name) in told[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own study"]


def test_a_bad_study_does_not_cost_the_model_that_is_to_be_overwritten(own_study: Path, model: Path, tmp_path: Path):
    output = shutil.copytree(model, tmp_path / "model")
    before = content(output)
    truncate(own_study / SCAN)
    assert run(train_arguments(own_study, output, "--overwrite")) == 2
    assert content(output) == before


def test_validation_labels_unknown_to_the_atlases_are_named(own_study: Path, study: Path, tmp_path: Path, capsys):
    plain_labels(own_study / LABELS, lambda image: image + sitk.Cast(image == 70, sitk.sitkUInt8) * 6)
    folders = ["--validation-images", own_study / "images", "--validation-labels", own_study / "labels"]
    assert run(train_arguments(study, tmp_path / "model", *folders)) == 2
    told = capsys.readouterr().err
    assert "76" in told and str(own_study / LABELS) in told and not (tmp_path / "model").exists()


BAD_OPTIONS = {
    "--minutes": [("0",), ("-3",), ("nan",), ("inf",), ("soon",)],
    "--steps": [("0",), ("-1",), ("1.5",)],
    "--seed": [("fine",), ("-1",)],
    "--segmentation-share": [("2",), ("0.9",), ("-0.1",)],  # the registration's 0.3 comes on top
    "--channels": [("8", "16"), ("8", "6", "8"), ("0", "8", "8")],
    "--registration-scale": [("0",)],
    "--mix-weight": [("-1",), ("nan",)],
    "--learning-rate": [("0",)],
    "--averaging": [("1",)],
    "--spacing": [("1", "0", "1"), ("1", "1")],
    "--percentiles": [("99", "1")],
    "--window": [("5", "5")],
    "--alignment": [("rigid",)],
    "--preset": [("best",)],
    "--device": [("tpu",), ("cuda:99",)],
}


@pytest.mark.parametrize(
    ("option", "values"), [(option, values) for option, cases in BAD_OPTIONS.items() for values in cases]
)
def test_bad_options_are_named_and_nothing_is_written(
    option: str, values: tuple[str, ...], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = train_arguments(study, tmp_path / "model")
    if option == "--minutes":
        del arguments[arguments.index("--steps") :]
    assert run([*arguments, option, *values]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert option.strip("-") in told.replace("_", "-") and (len(values) > 1 or values[0] in told)
    assert not list(tmp_path.iterdir())


def test_an_unknown_device_lists_those_there_are(model: Path, study: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--input", study / "unlabeled", "--output", tmp_path / "out", "--device", "cuda:99"]
    assert run(["segment", "--model", model, *arguments]) == 2
    told = capsys.readouterr().err
    assert "cuda:99" in told and "auto" in told and told.rstrip().endswith("cpu") and not (tmp_path / "out").exists()


def test_an_output_folder_with_a_model_or_foreign_files_is_left_alone(
    study: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = content(model)
    assert run(train_arguments(study, model)) == 2
    told = capsys.readouterr().err
    assert str(model) in told and "--overwrite" in told and content(model) == before
    (tmp_path / "thesis.txt").write_text("years of work")
    for more in ([], ["--overwrite"]):
        assert run(train_arguments(study, tmp_path, *more)) == 2
    assert str(tmp_path) in capsys.readouterr().err and content(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("output", ["file", "file/model"])
def test_an_output_that_cannot_be_a_folder_is_told(output: str, study: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("no folder")
    assert run(train_arguments(study, tmp_path / output)) == 2
    assert str(tmp_path / output) in capsys.readouterr().err.splitlines()[-1]
    assert content(tmp_path) == {"file": b"no folder"}


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot limit the size of files")
def test_a_full_disk_at_the_start_keeps_the_model_of_before(study: Path, model: Path, tmp_path: Path, capsys) -> None:
    output = shutil.copytree(model, tmp_path / "model")
    before = content(output)
    with no_file_longer_than(20_000):
        codes = [run(train_arguments(study, path, *more)) for path, more in (
            (output, ["--overwrite"]), (tmp_path / "new/model", [])
        )]  # fmt: skip
    told = capsys.readouterr().err
    assert codes == [2, 2] and "disk space" in told and str(output) in told
    assert content(output) == before and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--resume"], "model"),
        (["--resume", "--steps", "3"], "model"),
        (["--atlas-images", "a"], "--atlas-labels and --unlabeled"),
        (["--study", "none"], "no study.json"),
        (["--dataset", "none"], "labelsTr"),
    ],
)
def test_a_training_without_what_it_needs_is_refused(arguments, named, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["train", "--output", "model", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("brbs: ") and named in told and not list(tmp_path.iterdir())


def test_a_study_is_replaced_only_when_that_is_said(own_study: Path, tmp_path: Path, capsys) -> None:
    kept = tmp_path / "kept"
    assert run(train_arguments(own_study, tmp_path / "one", "--study", kept, steps=1)) == 0
    before = content(kept)
    assert run(train_arguments(own_study, tmp_path / "two", "--study", kept, "--seed", 7, steps=1)) == 2
    told = capsys.readouterr().err
    assert str(kept) in told and "--overwrite" in told and content(kept) == before and not (tmp_path / "two").exists()
    assert run(train_arguments(own_study, tmp_path / "one", "--study", kept, "--seed", 7, "--overwrite", steps=1)) == 0
    assert content(kept) != before


@pytest.mark.parametrize("typed", [["--step", "3"], ["--learning-rat", "0.1"], ["--outputs", "x"]])
def test_a_mistyped_option_is_named_and_help_is_pointed_to(typed, study: Path, tmp_path: Path, capsys) -> None:
    assert run([*train_arguments(study, tmp_path / "model"), *typed]) == 2
    told = capsys.readouterr().err
    assert typed[0] in told and "--help" in told and told.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "output", "named"),
    [
        ("none.nii.gz", "out.nii.gz", "none.nii.gz"),
        ("scan 100.nii.gz", "out.png", "out.png"),
        (".", "out.nii.gz", "out.nii.gz"),
        ("scan 100.nii.gz", "scan 100.nii.gz", "scan 100.nii.gz"),
        (".", ".", "scan 100.nii.gz"),
        ("empty", "out", "empty"),
    ],
)
def test_bad_segmentation_requests_are_refused(source, output, named, model, study, tmp_path, monkeypatch, capsys):
    shutil.copytree(study / "unlabeled", tmp_path, dirs_exist_ok=True)
    (tmp_path / "empty").mkdir()
    before = content(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["segment", "--model", model, "--input", source, "--output", output]) == 2
    assert named in capsys.readouterr().err and content(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["empty"]


def test_a_model_is_exported_to_a_file_that_can_be_found_again(model: Path, tmp_path: Path, capsys) -> None:
    assert run(["export-model", "--model", model, "--output", tmp_path / "kidney"]) == 2
    assert ".zip" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_model_is_not_exported_over_itself(model: Path, tmp_path: Path, capsys) -> None:
    own = Path(shutil.copytree(model, tmp_path / "model"))
    before = content(own)
    for path in (own / "model.json", *own.glob("segmentation-*")):
        assert run(["export-model", "--model", own, "--output", path]) == 2
        assert str(path) in capsys.readouterr().err and content(own) == before


def test_a_report_is_written_as_a_whole_or_not_at_all(study: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "report/report.png").mkdir(parents=True)
    folders = ["--prediction", study / "labels", "--reference", study / "labels"]
    assert run(["evaluate", *folders, "--output", tmp_path / "report"]) == 2
    assert "report.png" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.png"]


def test_a_table_that_would_replace_a_label_map_is_refused(model: Path, study: Path, tmp_path: Path, capsys) -> None:
    table = tmp_path / "out/scan 101.nii.gz"
    scans = ["--input", study / "unlabeled", "--output", tmp_path / "out"]
    assert run(["segment", "--model", model, *scans, "--table", table]) == 2
    assert str(table) in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_folder_without_model_is_told(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["segment", "--model", study, "--input", study / "unlabeled", "--output", tmp_path / "out"]) == 2
    assert str(study) in capsys.readouterr().err and not list(tmp_path.iterdir())
