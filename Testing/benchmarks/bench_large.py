"""Time and peak memory of segmenting CT-sized scans of three lengths, each in a process of its own.

    python Testing/benchmarks/bench_large.py --output DIR
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ENGINE = Path(__file__).resolve().parents[2] / "BRBSTraining"
sys.path.insert(0, str(ENGINE))

SPACING = (0.8, 0.8, 1.0)  # mm, of the scans
STRUCTURES = 4
CHILD = (
    "import resource, sys; from brbs.__main__ import main; code = main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
)


def main() -> None:
    """Prints a table and draws ``large.png``."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--output", type=Path, required=True)
    arguments.add_argument("--slices", type=int, nargs="+", default=[100, 200, 400])
    arguments.add_argument("--across", type=int, default=512, help="voxels of a slice's edges")
    arguments.add_argument("--window", type=int, default=96, help="voxels of the model's edges")
    arguments.add_argument("--voxel", type=float, default=1.5, help="edge of the model's voxels, mm")
    chosen = arguments.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    model = chosen.output / "model"
    random_model(chosen.window, chosen.voxel).save(model)
    rows = []
    for slices in chosen.slices:
        scan = chosen.output / f"{slices}.nrrd"
        write_scan(scan, (chosen.across, chosen.across, slices))
        seconds, gibibytes = segment(model, scan, chosen.output / f"{slices}.seg.nrrd")
        voxels = chosen.across**2 * slices
        rows.append((slices, voxels, seconds, gibibytes))
        size = f"{chosen.across} x {chosen.across} x {slices}"
        pace = f"{seconds:6.1f} s ({1e6 * seconds / voxels:.2f} s a million voxels)"
        print(f"{size}: {pace}, peak memory {gibibytes:.2f} GiB", flush=True)
    draw(rows, chosen.output / "large.png")


def random_model(window: int, voxel: float):
    """A model of the default widths with random weights."""
    import torch

    from brbs.anisotropy import default_unet
    from brbs.grid import WorkingGrid
    from brbs.label_schema import LabelSchema
    from brbs.model import ModelBundle
    from brbs.networks import SegmentationNet
    from brbs.settings import Settings

    torch.manual_seed(0)
    schema, channels = LabelSchema.from_values(range(1, STRUCTURES + 1)), default_unet((window,) * 3, (1, 1, 1))[0]
    grid = WorkingGrid((window,) * 3, (voxel,) * 3, intensity="window", window=(-200.0, 400.0))
    none = np.zeros((0, *grid.shape), np.uint8)
    weights = SegmentationNet(schema.class_count, channels).state_dict()
    return ModelBundle(schema, grid, Settings(), channels, weights, None, none.astype(np.float32), none)


def write_scan(path: Path, size: tuple[int, int, int]) -> None:
    """A smooth body with noise, int16."""
    random = np.random.default_rng(0)
    coarse = sitk.GetImageFromArray(random.normal(0, 200, (8, 8, 8)).astype(np.float32))
    coarse.SetSpacing([count / 8 for count in size])
    body = sitk.Resample(coarse, size, sitk.Transform(), sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3)
    array = sitk.GetArrayViewFromImage(body) + random.integers(-30, 30, size[::-1], dtype=np.int16)
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))


def segment(model: Path, scan: Path, target: Path) -> tuple[float, float]:
    """Seconds from start to written file, and the process's peak memory in GiB."""
    command = ["segment", "--model", model, "--input", scan, "--output", target, "--device", "cpu"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(ENGINE)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, int(done.stdout.split()[-1]) / 2**20


def draw(rows: list[tuple], path: Path) -> None:
    """Time and memory over voxels; a straight line from the origin through the largest scan is the linear growth."""
    from matplotlib.figure import Figure

    millions, seconds, memory = (np.array([row[index] for row in rows]) for index in (1, 2, 3))
    millions = millions / 1e6
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, millions[-1]], [0, seconds[-1]], ":", color="grey", label="linear")
    left.plot(millions, seconds, "o-")
    left.set(xlabel="million voxels", ylabel="seconds", title="time")
    left.legend(frameon=False)
    right.plot(millions, memory, "o-")
    right.set(xlabel="million voxels", ylabel="GiB", title="peak memory", ylim=(0, 6))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
