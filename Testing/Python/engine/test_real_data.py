"""The main job on real MRI: minutes long, so run by hand with ``-m slow``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_study import run

SHARED = Path(__file__).resolve().parents[4] / "shared"
HIPPOCAMPUS = Path(os.environ.get("BRBS_HIPPOCAMPUS") or SHARED / "data" / "hippocampus")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not HIPPOCAMPUS.is_dir(), reason=f"needs real scans: {HIPPOCAMPUS}, or another folder named by BRBS_HIPPOCAMPUS"
    ),
]


def test_a_few_minutes_on_five_atlases_segment_new_scans(tmp_path: Path) -> None:
    """150 steps are a twentieth of the default; a training that learns is far above what chance gives."""
    atlases, validation = HIPPOCAMPUS / "atlases", HIPPOCAMPUS / "validation"
    scans = ["--atlas-images", atlases / "images", "--atlas-labels", atlases / "labels"]
    scans += ["--unlabeled", HIPPOCAMPUS / "unlabeled" / "images"]
    assert run(["train", *scans, "--output", tmp_path / "model", "--steps", 150, "--device", "cpu"]) == 0
    table = ["--table", tmp_path / "table.csv", "--device", "cpu"]
    segmented = ["--model", tmp_path / "model", "--input", validation / "images", "--output", tmp_path / "found"]
    assert run(["segment", *segmented, *table]) == 0
    compared = ["--prediction", tmp_path / "found", "--reference", validation / "labels"]
    assert run(["evaluate", *compared, "--output", tmp_path / "report"]) == 0
    summary = json.loads((tmp_path / "report" / "summary.json").read_text(encoding="utf-8"))
    print(summary["structures"])
    assert all(structure["dice"]["mean"] > 0.6 for structure in summary["structures"])
