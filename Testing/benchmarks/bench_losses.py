"""Trains with the engine's step and with the straightforward one on the same draws; lays their losses over each other.

The mathematics is the paper's in both; what differs is the order of sums, and precision where the processor has
bfloat16. Draws zoom into a scan's whole field of view, so a coarse grid serves.

    python Testing/benchmarks/bench_losses.py --output DIR [--size 24 32 24] [--steps 200]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "BRBSTraining"))

import numpy as np
import straightforward
import torch
from bench_step import CLASSES, volumes
from matplotlib.figure import Figure
from torch import Tensor

from brbs import networks, steps
from brbs.data import TrainingData, Triple
from brbs.generation import draw_fractions
from brbs.learner import Learner
from brbs.settings import PAPER

LOSSES = ("registration", "segmentation")


def main() -> None:
    """Prints how far the curves lie apart and draws ``losses.png``."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--output", type=Path, required=True)
    arguments.add_argument("--size", type=int, nargs=3, default=(24, 32, 24), metavar=("D", "H", "W"))
    arguments.add_argument("--steps", type=int, default=200)
    chosen = arguments.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    fast = trained(engine_losses, chosen.size, chosen.steps)
    go_up, networks.Up.forward = networks.Up.forward, straightforward.go_up
    plain = trained(straightforward_losses, chosen.size, chosen.steps)
    networks.Up.forward = go_up
    for index, name in enumerate(LOSSES):
        apart = np.abs(fast[:, index] - plain[:, index]) / np.abs(plain[:, index])
        print(
            f"{name:13s} from {plain[0, index]:.3f} to {plain[-1, index]:.3f}; the curves lie {apart.mean():.1e} apart "
            f"on average, at most {apart.max():.1e} (relative), {apart[0]:.1e} in the first step"
        )
    draw(plain, fast, chosen.output / "losses.png")


def trained(losses_of, size: tuple[int, int, int], count: int) -> np.ndarray:
    """Both losses (count, 2) of so many steps from the same weights on the same draws."""
    atlas, onehot, scan_1, scan_2 = volumes(size)
    scans = torch.cat([scan_1, scan_2])[:, 0]
    learner = Learner(
        TrainingData(atlas[0], onehot.argmax(1), scans, CLASSES, (1, 1, 1), atlas.device), PAPER, PAPER.channels
    )
    generator, told = torch.Generator().manual_seed(0), []
    for _ in range(count):
        triple = learner.data.draw_triple((0, 1), generator, "published")
        fractions = draw_fractions(3, generator)
        told.append([learn(learner, name, losses_of(learner, name, triple, fractions)) for name in LOSSES])
    return np.array(told)


def learn(learner: Learner, name: str, compute) -> float:
    """One step of a network; the loss before it."""
    optimiser = learner.optimisers[name]
    for group in optimiser.param_groups:
        group["lr"] = PAPER.learning_rate
    loss = compute()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def engine_losses(learner: Learner, name: str, triple: Triple, fractions: Tensor):
    """The loss as the engine computes it."""
    registration, segmentation = (learner.applied(getattr(learner, part)) for part in LOSSES)

    def of_registration() -> Tensor:
        with torch.no_grad():
            labels = segmentation(triple.scan_1).float().softmax(1)
        pair = triple.atlas_image, triple.scan_1, triple.atlas_onehot, labels
        return steps.registration_losses(registration, *pair, PAPER)["registration_total"]

    def of_segmentation() -> Tensor:
        alpha, beta, gamma = fractions
        with torch.no_grad():
            generated, target, passed, _ = steps.generate(registration, triple, alpha, beta, PAPER)
            mixed, ends = steps.mixture(passed, triple.scan_2, gamma), torch.cat([passed, triple.scan_2])
        parts = generated, target, mixed, ends, gamma
        return steps.segmentation_losses(segmentation, *parts, PAPER)["segmentation_total"]

    return {"registration": of_registration, "segmentation": of_segmentation}[name]


def straightforward_losses(learner: Learner, name: str, triple: Triple, fractions: Tensor):
    """The loss as the paper reads."""
    registration, segmentation = learner.registration, learner.segmentation
    atlas, onehot, scan_1 = triple.atlas_image, triple.atlas_onehot, triple.scan_1

    def of_registration() -> Tensor:
        return straightforward.registration_loss(registration, segmentation, atlas, onehot, scan_1)

    def of_segmentation() -> Tensor:
        scans = atlas, onehot, scan_1, triple.scan_2
        return straightforward.segmentation_loss(registration, segmentation, *scans, *fractions)

    return {"registration": of_registration, "segmentation": of_segmentation}[name]


def draw(plain: np.ndarray, fast: np.ndarray, path: Path) -> None:
    """A panel for each loss, the engine's curve dashed over the straightforward one."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for index, (axis, name) in enumerate(zip(figure.subplots(1, 2), LOSSES, strict=True)):
        axis.plot(plain[:, index], color="#b8b8b8", linewidth=3, label="straightforward")
        axis.plot(fast[:, index], "--", color="#3b78c4", linewidth=1, label="engine")
        axis.set(title=f"{name} loss", xlabel="step")
        axis.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
