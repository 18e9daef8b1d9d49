"""Sparing memory changes nothing but memory; the working grid follows what was measured."""

from __future__ import annotations

import copy
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_model import smooth_noise
from tiny_study import SETTINGS, prepared_study

from brbs import networks, trainer
from brbs.job import JobWriter
from brbs.networks import RegistrationNet, SegmentationNet
from brbs.trainer import Budget, Trainer
from brbs.training_memory import PLAIN, SPARING, USABLE_SHARE, is_short

ROOT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")


@pytest.mark.parametrize("alone", [0, 10**9], ids=["volume by volume", "together"])
def test_gradients_are_the_same(alone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "SPARING_VOXELS", alone)
    torch.manual_seed(0)
    volumes = smooth_noise((3, 1, 12, 14, 10), 0).double()  # sums in another order count for more in float32
    for network, inputs in (
        (SegmentationNet(3, (8, 8, 16, 8, 8)), (volumes,)),
        (RegistrationNet((8, 16, 8)), (volumes, volumes.flip(0))),
    ):
        other = copy.deepcopy(network.double())
        other.unet.sparing = True
        found = [made(*inputs) for made in (network, other)]
        for output in found:
            output.square().mean().backward()
        torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)
        for own, same in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(same.grad, own.grad, rtol=1e-9, atol=1e-9)


def test_largest_grid_is_one_that_fits() -> None:
    for memory in (PLAIN, SPARING):
        for classes in (2, 41):
            voxels = memory.most_voxels(8 * 2**30, classes)
            assert memory.needed(voxels, classes) <= 8 * 2**30 < memory.needed(voxels + 10, classes)
    assert PLAIN.most_voxels(0, 5) == 0
    assert SPARING.needed(128**3, 5) < 8e9 < PLAIN.needed(128**3, 5)


def test_memory_is_spared_where_it_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepared_study()
    enough = int(PLAIN.needed(prepared.atlas_images[0].size, 3) / USABLE_SHARE) + 10
    assert not is_short(enough, prepared.atlas_images[0].size, 3)
    for free, sparing in ((enough, False), (enough - 100, True)):
        monkeypatch.setattr(trainer, "free_memory", lambda _, free=free: free)
        monkeypatch.setattr(trainer, "keep_freed_memory", lambda: None)
        with JobWriter(tmp_path / "training") as job:
            training = Trainer(prepared, SETTINGS, Budget(steps=2), CPU, tmp_path, job)
            assert training.run()
        networks_of = training.learner.segmentation, training.learner.registration
        assert [network.unet.sparing for network in networks_of] == [sparing] * 2


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read as Linux tells it")
def test_measured_step_stays_within_what_is_expected() -> None:
    """On a small cube, where the fixed part weighs most; large ones are for the benchmark."""
    program = (
        "import sys; sys.path.insert(0, 'Testing/benchmarks'); "
        "from bench_memory import measure; print(*measure(32, 3, 0.6, sys.argv[1]))"
    )
    for kind, memory in (("plain", PLAIN), ("sparing", SPARING)):
        command = [sys.executable, "-c", program, kind]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=True
        )
        before, peak, _seconds = map(float, done.stdout.split())
        assert peak - before < memory.needed(32**3, 3)
