"""How well the confidence tells the true Dice: rank correlation and calibration, over scans with reference and models.

    python Testing/benchmarks/bench_confidence.py --models MODEL... --images DIR --labels DIR --output DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "BRBSTraining"))

import numpy as np
import SimpleITK as sitk
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from brbs.confidence import Confidence
from brbs.image_files import list_images
from brbs.metrics import dice
from brbs.model import ModelBundle
from brbs.predictor import Predictor
from brbs.volumes import read_image, read_label_map

BINS = 5  # of equally many structures, in the calibration


def main() -> None:
    """Prints the correlations and draws ``confidence.png``."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--models", type=Path, nargs="+", required=True)
    arguments.add_argument("--images", type=Path, required=True)
    arguments.add_argument("--labels", type=Path, required=True, help="references, named like the scans")
    arguments.add_argument("--output", type=Path, required=True)
    chosen = arguments.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(list_images(chosen.images), list_images(chosen.labels), strict=True))
    points = {}
    for folder in chosen.models:
        points[folder.name] = found = pairs_of(folder, pairs)
        cases = spearmanr(*np.nanmean(found, 1).T).statistic
        each = " ".join(f"{spearmanr(*known(structure).T).statistic:.2f}" for structure in found.transpose(1, 0, 2))
        expected, true = known(found).mean(0)
        print(f"{folder.name}: {expected:.3f} expected, {true:.3f} true; rank correlation over the {len(found)} scans "
              f"{cases:.2f}, by structure {each}", flush=True)  # fmt: skip
    everything = np.concatenate([known(found) for found in points.values()])
    print(f"all: n = {len(everything)}, rank correlation {spearmanr(*everything.T).statistic:.2f}")
    draw(points, everything, chosen.output / "confidence.png")


def known(found: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of the structures that were found or expected, and are there."""
    pairs = found.reshape(-1, 2)
    return pairs[np.isfinite(pairs).all(1)]


def pairs_of(folder: Path, pairs: list[tuple[Path, Path]]) -> np.ndarray:
    """Confidence and true Dice of a model, (scans, structures, 2); NaN where there is none."""
    bundle, device = ModelBundle.load(folder), torch.device("cpu")
    predictor, confidence = Predictor(bundle, device), Confidence(bundle, device)
    found = []
    for path, reference in pairs:
        image = read_image(path)
        segmentation = predictor.segment(image)
        told = confidence.findings(image, segmentation).confidence
        arrays = (sitk.GetArrayFromImage(labels) for labels in (segmentation.labels, read_label_map(reference)))
        true = dice(*arrays, bundle.schema.values)
        found.append([(told[label.name], true[label.value]) for label in bundle.schema.labels])
    return np.array(found, float)


def draw(points: dict[str, np.ndarray], everything: np.ndarray, path: Path) -> None:
    """Left each structure of each scan, right the means of equally large groups."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for name, found in points.items():
        left.plot(*known(found).T, ".", alpha=0.5, label=name)
    left.legend(fontsize=8)
    groups = np.array_split(everything[everything[:, 0].argsort()], BINS)
    right.errorbar(
        [group[:, 0].mean() for group in groups],
        [group[:, 1].mean() for group in groups],
        [group[:, 1].std(ddof=1) if len(group) > 1 else 0 for group in groups],
        fmt="o", capsize=3,
    )  # fmt: skip
    low = min(everything.min(), 0.98)
    for axis, title in ((left, "each structure"), (right, f"means of {BINS} groups, with standard deviation")):
        axis.plot([low, 1], [low, 1], color="#b8b8b8", zorder=0)
        axis.set(title=title, xlabel="confidence")
    left.set_ylabel("true Dice")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
