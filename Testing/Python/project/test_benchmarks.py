"""Each benchmark runs one tiny round, so that none of them rots; what it measures then is of no account."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from standin.skipping import skipWithoutSlicer
from tiny_model import tiny_bundle
from tiny_study import on_grid, subject, write_study

needs_slicer = pytest.mark.usefixtures("with_slicer")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(name: str, *arguments) -> str:
    """What a benchmark prints."""
    return told(sys.executable, BENCHMARKS / f"bench_{name}.py", *arguments)


def told(*command) -> str:
    """What a command prints, when it succeeds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    words = list(map(str, command))
    done = subprocess.run(words, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def with_slicer() -> None:
    """Skips what needs slicer-core and PyQt5 where they are missing."""
    skipWithoutSlicer()


def test_step() -> None:
    told = run("step", "--size", 16, 16, 16, "--pairs", 1, "--threads", 1)
    assert told.count("times faster") == 2


def test_confidence(tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "model")
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for seed in range(4):
        image, labels = subject(seed)
        sitk.WriteImage(on_grid(image), str(tmp_path / f"images/{seed}.nrrd"))
        sitk.WriteImage(on_grid(labels), str(tmp_path / f"labels/{seed}.nrrd"))
    scans = ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]
    told = run("confidence", "--models", tmp_path / "model", *scans, "--output", tmp_path)
    assert "all: n = 8" in told and (tmp_path / "confidence.png").is_file()


def test_losses(tmp_path: Path) -> None:
    told = run("losses", "--output", tmp_path, "--size", 16, 16, 16, "--steps", 2)
    assert told.count("apart") == 2 and (tmp_path / "losses.png").is_file()


def test_memory() -> None:
    assert "together" in run("memory", "--edges", 16, "--classes", 2, "--phases", "together")


def test_large(tmp_path: Path) -> None:
    told = run("large", "--output", tmp_path, "--slices", 8, 12, "--across", 24, "--window", 16)
    assert "24 x 24 x 12" in told and (tmp_path / "large.png").is_file()


@needs_slicer
def test_gui() -> None:
    assert run("gui", "--scans", 2, "--events", 100)


@needs_slicer
def test_inspector() -> None:
    assert "frames/s" in run("inspector", "--size", 16, "--grid", 8, "--frames", 3)


@needs_slicer
def test_click(tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "model")
    (tmp_path / "scans").mkdir()
    for seed in range(2):
        sitk.WriteImage(on_grid(subject(seed)[0]), str(tmp_path / f"scans/{seed}.nrrd"))
    assert "first" in run("click", "--model", tmp_path / "model", "--scans", tmp_path / "scans", "--count", 2)


def test_fuzz_bundle() -> None:
    printed = told(sys.executable, BENCHMARKS / "fuzz_bundle.py", "--minutes", 0.03)
    assert " 0 kinds of fault" in printed and "other strides: refused" in printed


@pytest.mark.slow
def test_cold(tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "model")
    sitk.WriteImage(on_grid(subject(1)[0]), str(tmp_path / "scan.nrrd"))
    told = run("cold", "--model", tmp_path / "model", "--scan", tmp_path / "scan.nrrd", "--rounds", 1)
    assert "beyond import torch" in told and "writing" in told


@pytest.fixture
def scans_with_truth(tmp_path: Path) -> list:
    """Arguments that name a tiny study's folders and two scans with reference."""
    study = write_study(tmp_path)
    for name in ("truth/images", "truth/labels"):
        (study / name).mkdir(parents=True)
    for seed in (200, 201):
        image, labels = subject(seed)
        sitk.WriteImage(on_grid(image), str(study / f"truth/images/{seed}.nrrd"))
        sitk.WriteImage(on_grid(labels), str(study / f"truth/labels/{seed}.nrrd"))
    scans = ["--atlas-images", study / "images", "--atlas-labels", study / "labels", "--unlabeled", study / "unlabeled"]
    return [*scans, "--validation-images", study / "truth/images", "--validation-labels", study / "truth/labels"]


def test_accuracy(scans_with_truth: list, tmp_path: Path) -> None:
    """Two methods that share a training; the second call finds everything done."""
    output = tmp_path / "out"
    chosen = ["--methods", "registration", "default", "--seeds", 0, "--steps", 3, "--output", output]
    command = [sys.executable, BENCHMARKS / "accuracy", *scans_with_truth, *chosen]
    first, again = (told(*command) for _ in range(2))
    rows = [line for line in first.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and rows[2].startswith("| registration network") and rows[3].startswith("| default")
    assert (output / "accuracy.png").is_file() and (output / "accuracy.md").read_text(encoding="utf-8") in first
    assert again.strip() == "\n".join(first[first.index("| method") :].splitlines()).strip()


@pytest.mark.slow
def test_annotate_next(scans_with_truth: list, tmp_path: Path) -> None:
    """Of two atlases, the other one is suggested to each."""
    script = BENCHMARKS / "accuracy" / "annotate_next.py"
    lines = told(sys.executable, script, *scans_with_truth, "--steps", 3, "--output", tmp_path / "out").splitlines()
    assert [line.split(" alone")[0] for line in lines[-3:-1]] == ["atlas 0", "atlas 1"]
    assert "atlas 1, suggested" in lines[-3] and lines[-1].startswith("mean over 2 first atlases")


def test_quality(scans_with_truth: list, tmp_path: Path) -> None:
    """An aim that any network reaches is told with its first look; one that none reaches is told as such."""
    looks = ["--minutes", 0.05, "--every", 0, "--dice", 0, 1, "--output", tmp_path / "out"]
    told = run("quality", *scans_with_truth, *looks)
    assert re.search(r"Dice 0.00 after \d+ s, \d+ steps", told) and "Dice 1.00 not reached" in told


def test_all_of_them_are_here() -> None:
    """A new benchmark gets its test above."""
    named = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    missing = {path.stem.removeprefix("bench_") for path in BENCHMARKS.glob("bench_*.py")} - named
    if missing:
        pytest.fail(f"not run: {', '.join(sorted(missing))}")
