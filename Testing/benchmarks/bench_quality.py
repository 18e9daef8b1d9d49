"""How long a training takes to reach a mean Dice on annotated scans, by the engine here or by that of another checkout.

    python Testing/benchmarks/bench_quality.py --atlas-images DIR --atlas-labels DIR --unlabeled DIR
        --validation-images DIR --validation-labels DIR --dice 0.82 0.84 --minutes 10 --output DIR

The scans are segmented on the working grid every few seconds, off the training's clock, with the network that the
model would keep. The training ends when the highest Dice is reached.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2] / "BRBSTraining"
SCANS = ("atlas-images", "atlas-labels", "unlabeled", "validation-images", "validation-labels")


def main() -> int:
    """Trains in ``--output`` and prints when each Dice was reached."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in (*SCANS, "output"):
        arguments.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--dice", type=float, nargs="+", required=True, help="0..1")
    arguments.add_argument("--minutes", default="10", help="planned length of the training (default: 10)")
    arguments.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between two looks (default: 5)")
    arguments.add_argument("--seed", default="0")
    arguments.add_argument("--engine", type=Path, default=HERE, metavar="DIR", help="folder of another 'brbs' package")
    chosen = arguments.parse_args()
    sys.path.insert(0, str(chosen.engine.resolve()))
    from brbs.__main__ import main as brbs

    curve = watch_training(chosen.every, max(chosen.dice), chosen.output / "training/stop.request")
    scans = [word for name in SCANS for word in (f"--{name}", str(getattr(chosen, name.replace("-", "_"))))]
    length = ["--minutes", chosen.minutes, "--seed", chosen.seed, "--device", "cpu"]
    code = brbs(["train", *scans, "--output", str(chosen.output), *length])
    for aim in sorted(chosen.dice) if curve else ():
        print(told(aim, curve))
    return code


def watch_training(every: float, enough: float, stop: Path) -> list[tuple[float, int, float]]:
    """Makes the trainer look at the validation scans often, and ask for the end when it has seen enough.

    Returns:
        A list that will hold seconds of training, steps and mean Dice of each look.
    """
    from brbs.trainer import Trainer

    curve, validate = [], Trainer.validate

    def validate_off_the_clock(trainer: Trainer) -> None:
        trainer._tick()
        validate(trainer)
        trainer._clock = time.monotonic()
        curve.append((trainer.seconds, trainer.step, trainer.metrics["mean"]))
        if curve[-1][-1] >= enough:
            stop.touch()

    Trainer.validate = validate_off_the_clock
    Trainer._validation_due = lambda trainer: trainer.seconds - trainer.validated_at > every
    return curve


def told(aim: float, curve: list[tuple[float, int, float]]) -> str:
    """The line about one Dice."""
    for seconds, step, dice in curve:
        if dice >= aim:
            return f"Dice {aim:.2f} after {seconds:.0f} s, {step} steps ({dice:.3f})"
    return f"Dice {aim:.2f} not reached; {curve[-1][-1]:.3f} after {curve[-1][0]:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
