"""Seconds of ``python -m brbs segment`` from process start to written file, beside those of a bare ``import torch``.

    python Testing/benchmarks/bench_cold.py --model MODEL --scan FILE
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[2] / "BRBSTraining"
# What the command does, step by step, with the clock read in between.
STEPS = """
import sys, time
begun = time.perf_counter()
def passed(what, begin):
    print(what, time.perf_counter() - begin, sep="\\t")
    return time.perf_counter()
import numpy, SimpleITK
at = passed("NumPy and SimpleITK", begun)
import torch
at = passed("PyTorch", at)
from pathlib import Path
from brbs import __main__, predictor
from brbs.segmentation_job import LoadedModel
from brbs.volumes import read_image, write_label_map
at = passed("engine's modules", at)
image = read_image(sys.argv[2])
at = passed("reading the scan", at)
model = LoadedModel.load(Path(sys.argv[1]), torch.device("cpu"))
at = passed("reading the model", at)
found = model.predictor.segment(image)
at = passed("segmenting", at)
write_label_map(found.labels, sys.argv[3], model.predictor.schema.meta)
at = passed("writing", at)
"""


def main() -> None:
    """Prints the medians of several rounds, the two side by side in each, and what the time goes to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "labels.nii.gz"
        files = ["--model", chosen.model, "--input", chosen.scan, "--output", output, "--device", "cpu"]
        commands = {"import torch": ["-c", "import torch"], "segment": ["-m", "brbs", "segment", *files]}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        steps: dict[str, list[float]] = {}
        for _ in range(chosen.rounds):
            for name, command in commands.items():
                begun = time.perf_counter()
                run(command)
                seconds[name].append(time.perf_counter() - begun)
            for line in run(["-c", STEPS, chosen.model, chosen.scan, output]).splitlines():
                name, taken = line.split("\t")
                steps.setdefault(name, []).append(float(taken))
    torch_alone, segment = seconds.values()
    for name, found in seconds.items():
        print(f"{name}: median {statistics.median(found):.2f} s ({min(found):.2f} to {max(found):.2f} s)")
    beyond = [b - a for a, b in zip(torch_alone, segment, strict=True)]
    print(f"beyond import torch: median {statistics.median(beyond):.2f} s ({min(beyond):.2f} to {max(beyond):.2f} s)")
    for name, found in steps.items():
        print(f"  {name}: {statistics.median(found):.2f} s")


def run(arguments: list) -> str:
    """Runs a Python of its own; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ENGINE), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
