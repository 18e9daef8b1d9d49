"""The accuracy benchmark's table: means, the best baseline, and the test against it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks/accuracy"))

from comparison import compare, table  # noqa: E402
from run import Run, result_of  # noqa: E402

from brbs.errors import InputError  # noqa: E402
from brbs.files import write_json  # noqa: E402

CASES = 8


def result(dice: float, folded: float | None = None, gap: float = 0.0) -> dict:
    """A run whose cases differ a little; ``gap`` lies between its two structures."""
    cases = dice + np.linspace(-0.02, 0.02, CASES)
    distances = {"inner": [1.0] * CASES, "outer": [2.0] * (CASES - 1) + [None]}
    of_each = {"inner": list(cases + gap / 2), "outer": list(cases - gap / 2)}
    return {"dice": of_each, "hd95_mm": distances, "folded": folded, "steps": 600, "minutes": 10.0}


RESULTS = {
    ("unet", 5, 0): result(0.80),
    ("unet", 5, 1): result(0.82),
    ("paper", 5, 0): result(0.70, folded=0.25),
    ("default", 5, 0): result(0.86, folded=0.01, gap=0.1),
    ("default", 5, 1): result(0.84, folded=0.03, gap=0.1),
    ("default", 1, 0): result(0.77),
}


def test_rows_are_means_over_seeds_most_atlases_first() -> None:
    rows = compare(RESULTS)
    assert [(row.method, row.atlases) for row in rows] == [("unet", 5), ("paper", 5), ("default", 5), ("default", 1)]
    default = rows[2]
    assert default.cases.mean() == pytest.approx(0.85) and default.seed_sd == pytest.approx(0.02 / np.sqrt(2))
    assert list(default.dice.mean(1)) == pytest.approx([0.9, 0.8])
    assert default.folded == pytest.approx(0.02) and np.isnan(rows[0].folded)
    assert default.hd95_mm == pytest.approx((CASES + 2 * (CASES - 1)) / (2 * CASES - 1))


def test_each_is_compared_with_the_best_baseline_of_as_many_atlases() -> None:
    unet, paper, default, alone = compare(RESULTS)
    assert np.isnan(unet.p_value), "it is the best baseline itself"
    exact = 2 / 2**CASES  # all cases differ in one direction
    assert paper.p_value == pytest.approx(exact) and default.p_value == pytest.approx(exact)
    assert np.isnan(alone.p_value), "there is no baseline with one atlas"


def test_the_table_says_what_was_counted() -> None:
    told = table(compare(RESULTS))
    row = next(line for line in told.splitlines() if line.startswith("| default | 5"))
    assert "0.850 ± 0.014" in row and "2.00 %" in row and "| 600 | 10.0 |" in row
    assert "n = 8 cases, seeds: 1 or 2" in told


def test_a_kept_run_of_another_length_is_not_taken_for_this_one(tmp_path: Path) -> None:
    run = Run("unet", 5, 0, tmp_path, ("--minutes", "10"))
    run.folder.mkdir(parents=True)
    write_json(run.trained, {"length": ["--steps", "40"]})
    with pytest.raises(InputError, match="--steps 40; give another --output"):
        result_of(run, None, tmp_path, tmp_path, "cpu")
