"""Methods x numbers of atlases x seeds on a study with reference labels: a table and a figure.

    python Testing/benchmarks/accuracy --atlas-images DIR --atlas-labels DIR --unlabeled DIR
        --validation-images DIR --validation-labels DIR --output DIR

Every run is kept in the output folder; started again, the command does what is missing and goes on with a training
that was interrupted. Runs follow one another, as two trainings at once would share the processor.
"""

from __future__ import annotations

import argparse
import logging
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "BRBSTraining"))

from comparison import compare, table
from figure import draw
from methods import METHODS
from run import Run, result_of

from brbs.device import keep_freed_memory
from brbs.errors import InputError
from brbs.settings import BALANCED
from brbs.study import Study

TABLE, FIGURE = "accuracy.md", "accuracy.png"


def main() -> int:
    """Does the runs that are missing and rewrites table and figure after each."""
    chosen = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    try:
        return _compare(chosen)
    except InputError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="accuracy", description=__doc__.splitlines()[0])
    for name in ("atlas-images", "atlas-labels", "unlabeled", "validation-images", "validation-labels", "output"):
        arguments.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments.add_argument("--atlases", nargs="+", type=int, help="how many, the first by name (default: all)")
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    length = arguments.add_mutually_exclusive_group()
    length.add_argument("--minutes", default="10", help="of each training (default: 10)")
    length.add_argument("--steps", help="of each training instead")
    arguments.add_argument("--device", default="auto")
    return arguments.parse_args()


def _compare(chosen: argparse.Namespace) -> int:
    study = Study.from_folders(chosen.atlas_images, chosen.atlas_labels, chosen.unlabeled, BALANCED)
    length = ("--steps", chosen.steps) if chosen.steps else ("--minutes", chosen.minutes)
    counts = chosen.atlases or [len(study.atlases)]
    if "ants" in chosen.methods and find_spec("ants") is None:
        raise InputError("--methods: ants needs antspyx, which is not installed: pip install antspyx, or leave it out")
    if max(counts) > len(study.atlases) or min(counts) < 1:
        raise InputError(f"--atlases: {chosen.atlas_images} holds {len(study.atlases)}")
    scans = chosen.validation_images, chosen.validation_labels
    results = {}
    for count, seed, method in product(counts, chosen.seeds, METHODS):
        if method not in chosen.methods or (method == "ants" and seed != chosen.seeds[0]):
            continue  # nothing is drawn at random
        run = Run(method, count, seed, chosen.output, length)
        results[method, count, seed] = result_of(run, study, *scans, chosen.device)
        _write(results, chosen.output)
    print(table(compare(results)))
    return 0


def _write(results: dict, output: Path) -> None:
    rows = compare(results)
    (output / TABLE).write_text(table(rows) + "\n", encoding="utf-8")
    draw(rows).savefig(output / FIGURE, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
