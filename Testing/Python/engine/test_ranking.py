"""The scan that a model is least sure of comes first, and nothing is computed twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import SimpleITK as sitk
from tiny_model import tiny_bundle
from tiny_study import on_grid, run, subject, write_study

from brbs.errors import InputError
from brbs.ranking import Ranking, rank
from brbs.segmentation_job import Result, SegmentationJob, Segmenter

CONFIDENCES = {"scan 100.nii.gz": 0.7, "scan 101.nii.gz": 0.2, "scan 102.nii.gz": 0.9}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two atlases and three unlabeled scans, and a model."""
    files = write_study(tmp_path / "files")
    scans = ["--atlas-images", files / "images", "--atlas-labels", files / "labels", "--unlabeled", files / "unlabeled"]
    options = ["--channels", "8", "8", "16", "8", "8", "--steps", 1, "--device", "cpu"]
    assert run(["train", *scans, "--study", tmp_path / "study", "--output", tmp_path / "model", *options]) == 0
    return tmp_path


@pytest.fixture
def seen(monkeypatch) -> list[str]:
    """Names of the scans that the networks saw; they tell confidences that are known."""
    names: list[str] = []

    def run(segmenter: Segmenter, job: SegmentationJob) -> Result:
        assert job.output is None
        names.append(job.input.name)
        value = CONFIDENCES[job.input.name]
        return Result({"Hülle": 1.0, "Kern": 1.0}, "cpu", confidence={"Hülle": value + 0.1, "Kern": value - 0.1})

    monkeypatch.setattr(Segmenter, "run", run)
    return names


def scans(folder: Path) -> list[Path]:
    return sorted((folder / "files/unlabeled").iterdir())


def test_least_confident_first(folder: Path, seen: list[str], capsys) -> None:
    assert run(["rank", "--model", folder / "model", "--study", folder / "study"]) == 0
    ranking = Ranking.load(folder / "study/ranking.json")
    assert [item.scan.name[5:8] for item in ranking.scans] == ["101", "100", "102"]
    assert [round(item.mean, 6) for item in ranking.scans] == [0.2, 0.7, 0.9]
    assert ranking.waiting == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("0.20\t") and lines[0].endswith("Hülle 0.30, Kern 0.10")


def test_a_file_that_cannot_be_written_is_told_before_the_first_scan(folder: Path, seen: list[str], capsys) -> None:
    (folder / "file").touch()
    for output in (folder, folder / "file/ranking.json"):
        assert run(["rank", "--model", folder / "model", "--study", folder / "study", "--output", output]) == 2
        assert str(output) in capsys.readouterr().err and not seen


def test_what_is_known_is_not_computed_again(folder: Path, seen: list[str]) -> None:
    path = folder / "ranking.json"
    rank(folder / "model", scans(folder)[:2], path, "cpu")
    assert rank(folder / "model", scans(folder), path, "cpu").scans[0].scan.name == "scan 101.nii.gz"
    assert seen == list(CONFIDENCES)
    sitk.WriteImage(on_grid(subject(7)[0]), str(scans(folder)[0]))
    rank(folder / "model", scans(folder), path, "cpu")
    assert seen[3:] == ["scan 100.nii.gz"]
    tiny_bundle(seed=3).save(folder / "model")
    rank(folder / "model", scans(folder), path, "cpu")
    assert len(seen) == 7


def test_confidence_is_that_of_a_segmentation(folder: Path) -> None:
    scan = scans(folder)[0]
    ranking = rank(folder / "model", [scan], folder / "ranking.json", "cpu")
    result = Segmenter().run(SegmentationJob(folder / "model", scan, folder / "out.nrrd", "cpu"))
    assert ranking.scans[0].confidence == pytest.approx(result.confidence)


def test_a_bad_scan_comes_last_with_the_reason(folder: Path, seen: list[str]) -> None:
    scans(folder)[1].unlink()
    missing = folder / "files/unlabeled/scan 101.nii.gz"
    ranking = rank(folder / "model", [missing, *scans(folder)], folder / "ranking.json", "cpu")
    assert [item.scan.name[5:8] for item in ranking.scans] == ["100", "102", "101"]
    assert "cannot be read" in ranking.scans[-1].message


def test_an_error_in_the_engine_stops_no_other_scan(folder: Path, seen: list[str], monkeypatch, capsys) -> None:
    work = Segmenter.run

    def odd(self, job):
        if "100" in job.input.name:
            raise ValueError("odd\nvery odd")
        return work(self, job)

    monkeypatch.setattr(Segmenter, "run", odd)
    assert run(["rank", "--model", folder / "model", "--study", folder / "study"]) == 0
    ranking = Ranking.load(folder / "study/ranking.json")
    assert [item.scan.name[5:8] for item in ranking.scans] == ["101", "102", "100"]
    assert ranking.scans[-1].message == f"{ranking.scans[-1].scan}: ValueError: odd"


def test_a_damaged_model_is_told_and_no_scan_is_blamed(folder: Path, capsys) -> None:
    weights = next((folder / "model").glob("segmentation-*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    assert run(["rank", "--model", folder / "model", "--study", folder / "study"]) == 2
    assert weights.name in capsys.readouterr().err
    assert not (folder / "study/ranking.json").exists()


def test_file_tells_how_far_it_is(folder: Path, seen: list[str]) -> None:
    waiting = []
    path = folder / "ranking.json"
    rank(
        folder / "model",
        scans(folder),
        path,
        "cpu",
        lambda *_: waiting.append(getattr(Ranking.load(path), "waiting", 3)),
    )
    assert waiting == [3, 2, 1]


def test_bad_input_is_told(folder: Path, seen: list[str], capsys) -> None:
    assert run(["rank", "--model", folder / "model", "--study", folder / "files"]) == 2
    (folder / "study/ranking.json").write_text(json.dumps({"format": 1, "scans": [{}]}), encoding="utf-8")
    with pytest.raises(InputError, match="rank again"):
        Ranking.load(folder / "study/ranking.json")
    assert run(["rank", "--model", folder / "model", "--study", folder / "study"]) == 0
