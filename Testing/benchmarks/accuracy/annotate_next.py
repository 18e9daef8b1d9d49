"""Whether the scan that a model is least sure of is the one to annotate: what a second atlas brings, by which it is.

Each atlas in turn is the first one. Its model ranks the others as if they were unlabeled; then each of the others
becomes the second atlas of a training of its own. The mean over all others is what a scan drawn at random brings.

    python Testing/benchmarks/accuracy/annotate_next.py --atlas-images DIR --atlas-labels DIR --unlabeled DIR
        --validation-images DIR --validation-labels DIR --minutes 2 --output DIR

As in the comparison of methods, what is done is kept.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "BRBSTraining"))

import numpy as np
from run import Run, result_of

from brbs.device import keep_freed_memory
from brbs.ranking import rank
from brbs.settings import BALANCED
from brbs.study import Study

FOLDERS = ("atlas-images", "atlas-labels", "unlabeled", "validation-images", "validation-labels", "output")


def main() -> None:
    """Trains what is missing and prints a line for each first atlas."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in FOLDERS:
        arguments.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    length = arguments.add_mutually_exclusive_group()
    length.add_argument("--minutes", default="2", help="of each training (default: 2)")
    length.add_argument("--steps", help="of each training instead")
    arguments.add_argument("--device", default="auto")
    chosen = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    study = Study.from_folders(chosen.atlas_images, chosen.atlas_labels, chosen.unlabeled, BALANCED)
    names = [atlas.name for atlas in study.atlases]
    runs = {group: _run(group, chosen) for group in _groups(names)}
    dice = {group: _mean_dice(run, study, group, chosen) for group, run in runs.items()}
    gains, drawn = [], []
    for first in names:
        others = [name for name in names if name != first]
        gain = {name: dice[_group(first, name)] - dice[first,] for name in others}
        suggested = _suggestion(runs[first,], study, others, chosen)
        gains.append(gain[suggested])
        drawn.append(float(np.mean(list(gain.values()))))
        each = ", ".join(f"{name} {value:+.3f}" for name, value in gain.items())
        print(f"{first} alone {dice[first,]:.3f}; {suggested}, suggested, brings {gains[-1]:+.3f}; all: {each}")
    print(f"mean over {len(names)} first atlases: suggested {np.mean(gains):+.3f}, at random {np.mean(drawn):+.3f}")


def _groups(names: list[str]) -> list[tuple[str, ...]]:
    """Each atlas alone, and each pair."""
    return [(name,) for name in names] + [_group(*pair) for pair in combinations(names, 2)]


def _group(*names: str) -> tuple[str, ...]:
    return tuple(sorted(names))


def _run(group: tuple[str, ...], chosen: argparse.Namespace) -> Run:
    length = ("--steps", chosen.steps) if chosen.steps else ("--minutes", chosen.minutes)
    return Run("default", len(group), 0, chosen.output / " + ".join(group), length)


def _mean_dice(run: Run, study: Study, group: tuple[str, ...], chosen: argparse.Namespace) -> float:
    of_group = replace(study, atlases=[atlas for atlas in study.atlases if atlas.name in group])
    result = result_of(run, of_group, chosen.validation_images, chosen.validation_labels, chosen.device)
    return float(np.mean(list(result["dice"].values())))


def _suggestion(run: Run, study: Study, others: list[str], chosen: argparse.Namespace) -> str:
    """Name of the scan that the model of a run is least sure of."""
    images = [atlas.image for atlas in study.atlases if atlas.name in others]
    least_sure = rank(run.model, images, run.folder / "ranking.json", chosen.device).scans[0].scan
    return next(atlas.name for atlas in study.atlases if atlas.image == least_sure)


if __name__ == "__main__":
    main()
