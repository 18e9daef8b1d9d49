"""What was neither found nor expected has no confidence, in results, tables and rankings alike."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_model import brightness_classes, tiny_bundle
from tiny_study import SCHEMA, SETTINGS, on_grid, run, subject

from brbs.absence import mean_confidence, told_confidence
from brbs.confidence import Confidence
from brbs.job import JobReader
from brbs.predictor import Predictor
from brbs.ranking import RankedScan, Ranking, rank
from brbs.segmentation_job import SegmentationJob, Segmenter
from brbs.study import Study

ABSENT = {"Hülle": None, "Kern": None}


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A scan, beside a model that is sure of finding nothing anywhere."""
    bundle = tiny_bundle(provenance={"registration_steps": 0})  # no atlases that contradict
    bias = bundle.segmentation["out_conv.bias"] + torch.tensor([1000.0, 0.0, 0.0])
    replace(bundle, segmentation=bundle.segmentation | {"out_conv.bias": bias}).save(tmp_path / "model")
    sitk.WriteImage(on_grid(subject(1)[0]), str(tmp_path / "scan.nrrd"))
    return tmp_path / "scan.nrrd"


def test_only_what_was_not_expected_either_is_absent() -> None:
    volumes = {"found": 2.0, "absent": 0.0, "missed": 0.0, "unsure": 0.1}
    confidence = {"found": 0.9, "absent": None, "missed": 0.0, "unsure": 0.0}
    assert told_confidence(volumes, confidence) == confidence
    assert told_confidence({"found": 2.0, "absent": 0.0}, {}) == {"absent": None}  # as tables tell it


def test_what_was_found_only_beyond_the_working_grid_deserves_no_trust(tmp_path: Path) -> None:
    bundle = tiny_bundle(provenance={"registration_steps": 0})
    bundle = replace(bundle, grid=replace(bundle.grid, intensity="window", window=(0.0, 1.0)))
    values = np.zeros((bundle.grid.shape[0], bundle.grid.shape[1], 3 * bundle.grid.shape[2]), np.float32)
    values[4:12, 6:14, -10:-2] = 1.0
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(bundle.grid.spacing)
    predictor = Predictor(bundle, torch.device("cpu"))
    predictor.network = lambda seen: 40 * brightness_classes(seen)
    segmentation = predictor.segment(image)
    assert (sitk.GetArrayFromImage(segmentation.labels) == 70).any() and not segmentation.found.argmax(0).any()
    findings = Confidence(bundle, torch.device("cpu")).findings(image, segmentation)
    assert told_confidence({"Hülle": 0.0, "Kern": 4.0}, findings.confidence) == {"Hülle": None, "Kern": 0.0}


def test_mean_is_over_what_was_found_or_expected() -> None:
    assert mean_confidence({"a": 0.4, "b": None, "c": 0.8}) == pytest.approx(0.6)
    assert mean_confidence({"a": None}) is None


def test_result_tells_of_nothing_found(scan: Path) -> None:
    result = Segmenter().run(SegmentationJob(scan.parent / "model", scan, None, "cpu"))
    assert result.volumes == {"Hülle": 0.0, "Kern": 0.0}
    assert result.confidence == ABSENT


@pytest.mark.parametrize("cell", ["", "1.0"])  # as it is written, and as earlier versions wrote it
def test_table_is_read_again_as_it_was_meant(scan: Path, cell: str) -> None:
    folder, path = scan.parent, scan.parent / "segmentations.csv"
    options = ["--model", folder / "model", "--device", "cpu", "--table", path, "--job", folder / "job"]
    command = ["segment", "--input", scan, "--output", folder / "out.nrrd", *options, "--skip-finished"]
    assert run(command) == 0
    with path.open(newline="", encoding="utf-8-sig") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["Kern volume (mL)"], row["Kern confidence"]) == ("0.0", "")
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, row)
        writer.writeheader()
        writer.writerow(row | {"Kern confidence": cell})
    assert run(command) == 0
    told = [(event["state"], event.get("confidence")) for event in JobReader(folder / "job").events()[0]]
    assert told[-2:] == [("finished", ABSENT), ("skipped", ABSENT)]


def test_ranking_keeps_it_and_goes_by_the_rest(scan: Path) -> None:
    path = scan.parent / "ranking.json"
    nothing = rank(scan.parent / "model", [scan], path, "cpu").scans[0]
    some = RankedScan(Path("some"), {"Hülle": 0.7, "Kern": None})
    Ranking("m", (RankedScan(Path("bad"), {}, "why"), nothing, some), waiting=0).save(path)
    ranked = Ranking.load(path).scans
    assert [item.scan.name for item in ranked] == ["some", "scan.nrrd", "bad"]
    assert (ranked[0].mean, ranked[1].confidence) == (0.7, ABSENT)


def test_ranking_prints_it(scan: Path, capsys) -> None:
    Study([], [scan], SCHEMA, SETTINGS).save(scan.parent / "study")
    assert run(["rank", "--model", scan.parent / "model", "--study", scan.parent / "study", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"  - \t{scan}\tHülle not found, Kern not found"]
