"""What the runs say together: means, spread, and whether a method differs from the best baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from methods import METHODS


@dataclass(frozen=True)
class Row:
    """A method with a number of atlases, over all its seeds.

    Attributes:
        dice: mean over seeds, (structures, cases).
        hd95_mm: mean over seeds and structures, where there is a distance.
        seeds: how many.
        seed_sd: standard deviation of the seeds' mean Dice; NaN of a single one.
        folded: share of folded voxels, steps and minutes: means over seeds; NaN where there are none.
        p_value: Wilcoxon signed-rank test of the cases' mean Dice against the best baseline's; NaN of itself.
    """

    method: str
    atlases: int
    structures: tuple[str, ...]
    dice: np.ndarray
    hd95_mm: float
    seeds: int
    seed_sd: float
    folded: float
    steps: float
    minutes: float
    p_value: float = np.nan

    @property
    def cases(self) -> np.ndarray:
        """Mean Dice over the structures, of each case."""
        return self.dice.mean(0)


def compare(results: Mapping[tuple[str, int, int], dict]) -> list[Row]:
    """Rows by number of atlases (most first), then in the order of the methods.

    Args:
        results: by method, number of atlases and seed; see :func:`run.result_of`.
    """
    rows = []
    for atlases in sorted({key[1] for key in results}, reverse=True):
        found = {
            method: [result for (m, n, _), result in results.items() if (m, n) == (method, atlases)]
            for method in METHODS
        }
        group = [_row(method, atlases, seeds) for method, seeds in found.items() if seeds]
        rows += _tested(group)
    return rows


def _row(method: str, atlases: int, results: Sequence[dict]) -> Row:
    dice = np.array([list(result["dice"].values()) for result in results], float)
    distances = np.array([list(result["hd95_mm"].values()) for result in results], float)  # None becomes NaN
    known = {
        name: np.mean([np.nan if result[name] is None else result[name] for result in results])
        for name in ("folded", "steps", "minutes")
    }
    spread = dice.mean((1, 2)).std(ddof=1) if len(results) > 1 else np.nan
    structures = tuple(results[0]["dice"])
    return Row(method, atlases, structures, dice.mean(0), np.nanmean(distances), len(results), spread, **known)


def _tested(rows: list[Row]) -> list[Row]:
    from scipy.stats import wilcoxon

    baselines = [row for row in rows if METHODS[row.method].baseline]
    if not baselines:
        return rows
    best = max(baselines, key=lambda row: row.cases.mean())
    return [
        row if row is best or not (row.cases != best.cases).any()
        else replace(row, p_value=float(wilcoxon(row.cases, best.cases).pvalue))
        for row in rows
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    structures = rows[0].structures if len(rows[0].structures) <= 4 else ()
    titles = ["method", "atlases", *structures, "Dice", "sd of seeds", "p", "HD95 (mm)", "folded", "steps", "minutes"]
    lines = ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
    for row in rows:
        by_structure = [_spread(values) for values in row.dice] if structures else []
        cells = [METHODS[row.method].title, row.atlases, *by_structure, _spread(row.cases)]
        cells += [_number(row.seed_sd, ".3f"), _number(row.p_value, ".1g"), f"{row.hd95_mm:.2f}"]
        cells += [_number(100 * row.folded, ".2f", " %"), _number(row.steps, ".0f"), _number(row.minutes, ".1f")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    seeds = sorted({row.seeds for row in rows})
    counts = f"n = {rows[0].dice.shape[1]} cases, seeds: {' or '.join(map(str, seeds))}"
    note = f"Mean ± standard deviation over the cases, {counts}; p: Wilcoxon, paired, against the best baseline."
    return "\n".join([*lines, "", note])


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1) if len(values) > 1 else 0:.3f}"


def _number(value: float, layout: str, unit: str = "") -> str:
    return "-" if np.isnan(value) else f"{value:{layout}}{unit}"
