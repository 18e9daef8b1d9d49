"""Peak memory of a training step of each phase on cubes of several sizes, each in a process of its own.

    python Testing/benchmarks/bench_memory.py --edges 64 96 128
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[2] / "BRBSTraining"
PROGRESS = {"warm-up": 0.3, "registration": 0.45, "together": 0.6}  # of a training, at which it is in each phase
CHILD = """
import resource, sys, time
from dataclasses import replace
import torch
from brbs.data import TrainingData
from brbs.device import keep_freed_memory
from brbs.learner import Learner
from brbs.anisotropy import default_unet
from brbs.settings import Settings

edge, classes, progress, sparing = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "sparing"
if not sparing:
    keep_freed_memory()
scans = torch.rand((3, edge, edge, edge))
data = TrainingData(scans[:1], scans[:1] > 0.5, scans[1:], classes, (1, 1, 1), torch.device("cpu"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
settings = replace(Settings(), segmentation_share=0.4, registration_share=0.1, registration_interval=1)
learner = Learner(data, settings, default_unet((edge,) * 3, (1, 1, 1))[0], sparing)
for _ in range(2):
    started = time.perf_counter()
    learner.step(progress)
    seconds = time.perf_counter() - started
print(before * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, seconds)
"""


def main() -> None:
    """Prints a table: peak in GiB, bytes a voxel beyond what the process needs anyway, seconds of the second step."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--edges", type=int, nargs="+", default=[64, 96, 128])
    arguments.add_argument("--classes", type=int, default=5)
    arguments.add_argument("--phases", choices=PROGRESS, nargs="+", default=list(PROGRESS))
    chosen = arguments.parse_args()
    print(f"{'edge':>5} {'phase':>13} {'memory':>8} {'peak GiB':>9} {'bytes a voxel':>14} {'seconds':>8}")
    for edge in chosen.edges:
        for phase in chosen.phases:
            for kind in ("plain", "sparing"):
                before, peak, seconds = measure(edge, chosen.classes, PROGRESS[phase], kind)
                per_voxel = (peak - before) / edge**3
                print(
                    f"{edge:5d} {phase:>13} {kind:>8} {peak / 2**30:9.2f} {per_voxel:14.0f} {seconds:8.2f}", flush=True
                )


def measure(edge: int, classes: int, progress: float, kind: str) -> tuple[float, float, float]:
    """Memory before the networks are made, peak memory (bytes) and seconds of a step."""
    command = [sys.executable, "-c", CHILD, str(edge), str(classes), str(progress), kind]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    before, peak, seconds = map(float, done.stdout.split())
    return before, peak, seconds


if __name__ == "__main__":
    main()
