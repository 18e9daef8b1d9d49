"""Times training steps against the straightforward one, side by side, and prints the peak memory of each.

``engine_step`` has the paper's mathematics, ``default_step`` is the mean step of a training with the default settings
(the networks alone first, then together), on the same networks. Each variant lives in a process of its own (for its
peak memory); they take turns, so that the machine's drift cancels.

    python Testing/benchmarks/bench_step.py [--size 48 64 48] [--pairs 5]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "BRBSTraining")]
CLASSES, FRACTIONS = 3, (0.7, 0.25, 0.4)


def straightforward_step(size):
    """The step as it reads in the paper."""
    import straightforward
    import torch

    from brbs.networks import RegistrationNet, SegmentationNet, Up
    from brbs.settings import PAPER

    Up.forward = straightforward.go_up
    torch.manual_seed(0)
    channels = PAPER.channels
    registration, segmentation = RegistrationNet(channels), SegmentationNet(CLASSES, channels)
    optimisers = [torch.optim.Adam(network.parameters(), lr=1e-4) for network in (registration, segmentation)]
    atlas, onehot, scan_1, scan_2 = volumes(size)

    def step() -> None:
        loss = straightforward.registration_loss(registration, segmentation, atlas, onehot, scan_1)
        optimisers[0].zero_grad()
        loss.backward()
        optimisers[0].step()
        loss = straightforward.segmentation_loss(
            registration, segmentation, atlas, onehot, scan_1, scan_2, *FRACTIONS
        )
        optimisers[1].zero_grad()
        loss.backward()
        optimisers[1].step()

    return step


def engine_step(size):
    """The engine's step with the paper's mathematics."""
    import torch

    from brbs import steps
    from brbs.data import TrainingData
    from brbs.device import keep_freed_memory
    from brbs.learner import Learner
    from brbs.settings import PAPER
    from brbs.warp import identity_grid

    keep_freed_memory()
    atlas, onehot, scan_1, scan_2 = volumes(size)
    data = TrainingData(atlas[0], onehot.argmax(1), torch.cat([scan_1, scan_2])[:, 0], CLASSES, (1, 1, 1), atlas.device)
    learner = Learner(data, PAPER, PAPER.channels)
    steps.draw_path = lambda sampling, generator: torch.tensor(FRACTIONS[:2])
    steps.draw_fractions = lambda count, generator: torch.tensor(FRACTIONS[2:])

    def step() -> None:
        learner._learn("registration", 0.5, pair_losses)
        triple = data.triple(0, (0, 1), identity_grid(atlas.shape[2:], atlas.device))
        learner._learn("segmentation", 0.5, lambda: learner._segmentation_losses(triple))

    def pair_losses():
        with torch.no_grad():
            labels = learner.applied(learner.segmentation)(scan_1).float().softmax(1)
        return steps.registration_losses(learner.applied(learner.registration), atlas, scan_1, onehot, labels, PAPER)

    return step


def default_step(size):
    """The mean step of the default preset: each phase by its share."""
    import torch

    from brbs.data import TrainingData
    from brbs.device import keep_freed_memory
    from brbs.learner import Learner
    from brbs.schedule import TOGETHER, phase_shares
    from brbs.settings import BALANCED, DEFAULT_PRESET, PAPER, PRESETS

    keep_freed_memory()
    atlas, onehot, scan_1, scan_2 = volumes(size)
    data = TrainingData(atlas[0], onehot.argmax(1), torch.cat([scan_1, scan_2])[:, 0], CLASSES, (1, 1, 1), atlas.device)
    learner = Learner(data, BALANCED, PAPER.channels)
    phases = [(name, share) for name, share in phase_shares(PRESETS[DEFAULT_PRESET].steps, BALANCED) if share]
    ends = list(itertools.accumulate(share for _, share in phases))

    def step() -> float:
        return sum(share * seconds(name, end - share / 2) for (name, share), end in zip(phases, ends))

    def seconds(name: str, progress: float) -> float:
        learner.own_steps["segmentation"] = BALANCED.atlas_steps if name == TOGETHER else 0
        count = BALANCED.registration_interval if name == TOGETHER else 1  # until everything has been done once
        start = time.perf_counter()
        for _ in range(count):
            learner.step(progress)
        return (time.perf_counter() - start) / count

    return step


def volumes(size):
    """Atlas image, its one-hot label map and two scans, smooth random."""
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 1, *(max(2, n // 4) for n in size), generator=generator)
    images = F.interpolate(coarse, size=tuple(size), mode="trilinear")
    labels = (images[0, 0] * CLASSES).long().clamp(0, CLASSES - 1)
    return images[:1], F.one_hot(labels, CLASSES).movedim(-1, 0)[None].float(), images[1:2], images[2:3]


def serve(connection, make, size, threads: int) -> None:
    """Makes a step on request and answers with its seconds; at the end with the peak memory."""
    import torch

    torch.set_num_threads(threads)
    step = make(size)
    while connection.recv() == "step":
        start = time.perf_counter()
        told = step()
        connection.send(time.perf_counter() - start if told is None else told)
    connection.send(peak_bytes())


def peak_bytes() -> int:
    """Peak resident memory of this process in bytes (0 where the system does not tell)."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(48, 64, 48), metavar=("D", "H", "W"))
    parser.add_argument("--pairs", type=int, default=5, help="rounds, of a step of each variant")
    parser.add_argument("--threads", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ends = {}
    for make in (straightforward_step, engine_step, default_step):
        here, there = context.Pipe()
        context.Process(target=serve, args=(there, make, arguments.size, arguments.threads), daemon=True).start()
        ends[make.__name__] = here
    seconds = {name: [] for name in ends}
    for _ in range(arguments.pairs + 1):  # the first round warms up
        for name, end in ends.items():
            end.send("step")
            seconds[name].append(end.recv())
    for name, end in ends.items():
        end.send("end")
        times = seconds[name][1:]
        print(
            f"{name:22s} median {statistics.median(times):6.2f} s  (min {min(times):.2f}, max {max(times):.2f}, "
            f"n {len(times)})  peak memory {end.recv() / 2**30:.2f} GiB"
        )
    plain, *others = seconds.items()
    for name, times in others:
        ratios = [a / b for a, b in zip(plain[1][1:], times[1:])]
        print(f"times faster: {name:13s} {statistics.median(ratios):6.2f}    ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
