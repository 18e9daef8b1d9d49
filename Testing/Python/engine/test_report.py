"""Evaluation of folders: tables whose numbers are known, figures, and refusals."""

from __future__ import annotations

import csv
import itertools
import json

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg

from brbs.errors import InputError
from brbs.label_schema import LabelSchema
from brbs.report import evaluate_folders, format_summary
from brbs.report_figure import draw_report
from brbs.volumes import write_image, write_label_map

META = [(3, "Hülle", (0.9, 0.4, 0.3), ""), (70, "Kern $x_1$", (0.3, 0.7, 0.9), "")]


def save(path, shift, values=(3, 70), spacing=(1.0, 1.0, 2.0)):
    """A box of 10 voxels, shifted along x, in which a box of 4 lies."""
    array = np.zeros((20, 20, 20), np.uint8)
    array[5:15, 5:15, 5 + shift : 15 + shift] = values[0]
    array[8:12, 8:12, 8 + shift : 12 + shift] = values[1]
    labels = sitk.GetImageFromArray(array)
    labels.SetSpacing(spacing)
    write_label_map(labels, path, META)


@pytest.fixture
def folders(tmp_path):
    """Shifts of 0, 1 and 2 voxels; in the last prediction the core is missing."""
    for number in range(3):
        save(tmp_path / f"true/case {number}.seg.nrrd", 0)
        save(tmp_path / f"found/case {number}.nii.gz", number, values=(3, 70 if number < 2 else 3))
    return tmp_path / "found", tmp_path / "true", tmp_path / "report"


def test_tables_tell_the_known_numbers(folders):
    summary = evaluate_folders(*folders)
    with (folders[2] / "cases.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    core = [row for row in rows if row["name"] == "Kern $x_1$"]
    assert [float(row["dice"]) for row in core] == [1, 0.75, 0]
    assert [row["hd95_mm"] for row in core] == ["0.0", "1.0", ""]
    assert [float(row["reference_volume_mm3"]) for row in core] == [128] * 3
    assert (summary["cases"], summary["median_case"], summary["worst_case"]) == (3, "case 1", "case 2")
    structure = summary["structures"][1]
    assert (structure["value"], structure["name"]) == (70, "Kern $x_1$")
    expected = {"mean": 1.75 / 3, "sd": np.std([1, 0.75, 0], ddof=1), "median": 0.75, "n": 3}
    assert structure["dice"] == pytest.approx(expected)
    assert structure["hd95_mm"]["n"] == 2 and structure["hd95_mm"]["mean"] == 0.5
    assert summary["overall"]["dice"]["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]))
    assert json.loads((folders[2] / "summary.json").read_text(encoding="utf-8")) == summary


def test_summary_as_text_names_every_structure(folders):
    text = format_summary(evaluate_folders(*folders))
    assert "Hülle" in text and "0.583 ± 0.520" in text and text.splitlines()[-2].startswith("all")


def test_structure_that_exists_in_no_prediction(tmp_path):
    save(tmp_path / "true/a.nii.gz", 0)
    sitk.WriteImage(sitk.Image(20, 20, 20, sitk.sitkUInt8), str(tmp_path / "empty.nii.gz"))
    empty = sitk.ReadImage(str(tmp_path / "empty.nii.gz"))
    empty.SetSpacing((1, 1, 2))
    write_label_map(empty, tmp_path / "found/a.nii.gz")
    summary = evaluate_folders(tmp_path / "found", tmp_path / "true", tmp_path / "report")
    assert summary["overall"]["dice"]["mean"] == 0
    assert summary["overall"]["hd95_mm"] == {"mean": None, "sd": None, "median": None, "n": 0}
    assert "NaN" not in (tmp_path / "report/summary.json").read_text(encoding="utf-8")
    assert format_summary(summary)


def colours(folder):
    """Every pixel of the figure as one number."""
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "report.png")))[..., :3].astype(int)
    return pixels @ [65536, 256, 1]


def save_scans(folder, size=(20, 20, 20)):
    scan = sitk.GetImageFromArray(np.random.default_rng(0).normal(100, 20, size[::-1]).astype(np.float32))
    scan.SetSpacing((1, 1, 2))
    for number in range(3):
        write_image(scan, folder / f"case {number}.mha")
    return folder


def test_figure_shows_the_scan_when_there_is_one(folders, tmp_path):
    evaluate_folders(*folders)
    without = np.unique(colours(folders[2]))
    evaluate_folders(*folders, save_scans(tmp_path / "scans"))
    assert len(np.unique(colours(folders[2]))) > len(without) + 200


def test_text_of_the_figure_stays_inside_and_apart():
    schema = LabelSchema.from_values(range(1, 15), {2: "a structure with a name as long as names of nerves can be"})
    rows = [{"value": value, "dice": 0.9, "hd95_mm": float("nan")} for value in schema.values]
    labels = sitk.GetImageFromArray(np.arange(1, 15, dtype=np.uint8).repeat(60).reshape(14, 10, 6))
    figure = draw_report(rows, schema, {"worst case: " + "a very long name of a case " * 5: (labels, labels, None)})
    FigureCanvasAgg(figure).draw()
    inches, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert inches.x0 >= 0 and inches.y0 >= 0 and inches.x1 <= width and inches.y1 <= height
    left, right = figure.subfigs[0].axes
    boxes = [text.get_window_extent() for text in (left.title, right.title, *left.get_yticklabels())]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_predictions_without_reference_are_left_out_and_named(folders, caplog):
    save(folders[0] / "case 0_probability_liver.nii.gz", 0)
    assert evaluate_folders(*folders)["cases"] == 3
    assert "case 0_probability_liver.nii.gz" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found, true: (found / "case 1.nii.gz").unlink(), r"case 1\.seg\.nrrd: has no prediction"),
        (lambda found, true: save(found / "case 1.nii.gz", 0, spacing=(1, 1, 3)), r"case 1\.nii\.gz: spacing"),
        (lambda found, true: save(found / "case 1.mha", 0), r"case 1\.nii\.gz: has the same name"),
        (lambda found, true: (found / "case 1.nii.gz").write_bytes(b"no image"), r"case 1\.nii\.gz: "),
        (lambda found, true: [path.unlink() for path in true.iterdir()], "true: holds no label maps"),
        (lambda found, true: found.rename(found.with_name("gone")), "found: no such folder"),
    ],
)
def test_unusable_folders_are_refused_before_anything_is_written(folders, spoil, message):
    spoil(*folders[:2])
    with pytest.raises(InputError, match=message):
        evaluate_folders(*folders)
    assert not folders[2].exists()


def test_scan_on_another_grid_is_refused(folders, tmp_path):
    with pytest.raises(InputError, match="size"):
        evaluate_folders(*folders, save_scans(tmp_path / "scans", (20, 20, 19)))
    assert not folders[2].exists()


def test_scan_missing_for_the_figure_is_refused(folders, tmp_path):
    (tmp_path / "scans").mkdir()
    with pytest.raises(InputError, match=r"case 0\.seg\.nrrd: has no scan"):
        evaluate_folders(*folders, tmp_path / "scans")


def test_output_that_is_a_file_is_refused(folders):
    folders[2].write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="report"):
        evaluate_folders(*folders)
    assert folders[2].read_text(encoding="utf-8") == "mine"
