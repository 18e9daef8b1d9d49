"""Choice of device, size of the working grid and precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brbs import control_groups
from brbs import device as device_module
from brbs.device import (
    autocast,
    available_devices,
    choose_device,
    free_memory,
    gradient_scaler,
    memory_format,
    share_processor,
    voxel_budget,
)
from brbs.errors import InputError
from brbs.processes import Group
from brbs.training_memory import SPARING, USABLE_SHARE

CPU = torch.device("cpu")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def fresh_probe():
    device_module.reduced_precision.cache_clear()
    yield
    device_module.reduced_precision.cache_clear()


def test_gpus_are_taken_by_name_and_first_by_default(two_gpus) -> None:
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]
    names = ("auto", "cuda", "cuda:1", "cpu")
    assert [str(choose_device(name)) for name in names] == ["cuda:0", "cuda:0", "cuda:1", "cpu"]


def test_without_gpu_the_cpu_is_taken(no_gpu) -> None:
    assert choose_device() == CPU


@pytest.mark.parametrize("name", ["cuda:7", "tpu", "cuda:-1", "", "mps"])
def test_unknown_device_lists_those_there_are(name: str, two_gpus) -> None:
    with pytest.raises(InputError, match=r"there are: auto, cuda:0, cuda:1, cpu$"):
        choose_device(name)


def test_voxel_budget_grows_with_memory_between_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    budgets = {}
    for device in (CPU, gpu):
        found = []
        for gigabytes in (0, 2, 2.2, 8, 16, 24, 80, 500):
            monkeypatch.setattr(device_module, "free_memory", lambda _, size=gigabytes: int(size * 2**30))
            found.append(voxel_budget(device, classes=5))
        assert found == sorted(found) and found[0] == 32**3
        assert found[2] > found[1] > 32**3  # gigabytes make a difference
        budgets[device] = found
    assert budgets[CPU][-1] == 96**3 and budgets[gpu][-1] == 160**3


def test_scans_that_lie_on_the_device_leave_less_for_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "free_memory", lambda _: 8 * 2**30)
    gpu, scans = torch.device("cuda"), 300
    alone, beside = voxel_budget(gpu, 2), voxel_budget(gpu, 2, scans)
    step = SPARING.needed(beside, 2)
    assert beside < alone / 2 and step + 5 * scans * beside == pytest.approx(USABLE_SHARE * 8 * 2**30, rel=0.01)


def test_free_memory_of_this_machine_is_plausible() -> None:
    assert 2**24 < free_memory(CPU) < 2**46


def test_limits_of_a_batch_system_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of 4 GB, of which 1 GB is taken and half of that by files, in a slice without a limit."""
    job = tmp_path / "fs/slurm/job 7"
    job.mkdir(parents=True)
    for folder, most, taken in ((job, str(2**32), 2**30), (job.parent, "max", 2**34)):
        for name, content in (("max", most), ("current", taken), ("stat", f"anon 5\ninactive_file {2**29}")):
            (folder / f"memory.{name}").write_text(f"{content}\n", encoding="ascii")
    (tmp_path / "own").write_text("0::/slurm/job 7\n", encoding="utf-8")
    monkeypatch.setattr(control_groups, "ROOT", tmp_path / "fs")
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "own")
    assert list(control_groups.free_in_control_groups()) == [2**32 - 2**30 + 2**29]
    assert free_memory(CPU) <= 2**32 - 2**29
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "another system")
    assert list(control_groups.free_in_control_groups()) == []


def test_processes_of_a_machine_share_its_memory_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, threads = free_memory(CPU), torch.get_num_threads()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_memory(CPU) == pytest.approx(whole / 4, rel=0.3)
    monkeypatch.setattr(device_module.os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    try:
        for told, count in (("2", threads), ("1", 3)):  # one that the user has set stays
            monkeypatch.setenv("OMP_NUM_THREADS", told)
            share_processor()
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)


def test_memory_format_suits_the_device() -> None:
    assert memory_format(CPU) == torch.channels_last_3d
    for name in ("cuda", "mps"):
        assert memory_format(torch.device(name)) == torch.contiguous_format


@pytest.mark.parametrize(
    ("supported", "faster", "expected"),
    [(True, True, torch.bfloat16), (True, False, torch.float32), (False, True, torch.float32)],
)
def test_cpu_computes_in_bfloat16_only_where_that_is_faster(
    supported: bool, faster: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch, fresh_probe
) -> None:
    monkeypatch.setattr(device_module, "_cpu_has_bfloat16", lambda: supported)
    monkeypatch.setattr(device_module, "_bfloat16_is_faster", lambda: faster)
    with autocast(CPU):
        assert torch.nn.functional.linear(torch.ones(1, 4), torch.ones(4, 4)).dtype == expected


@pytest.mark.parametrize("caller", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_probe_answers_whatever_the_caller_is_about(caller, fresh_probe) -> None:
    threads = torch.get_num_threads()
    with caller():
        device_module._bfloat16_is_faster()
        assert torch.is_grad_enabled() == (caller is torch.enable_grad)
    assert not torch.is_autocast_enabled("cpu")
    assert torch.get_num_threads() == threads


def test_the_oldest_pytorch_has_a_scaler_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.amp, "GradScaler", raising=False)
    loss = torch.ones((), requires_grad=True)
    assert gradient_scaler(CPU).scale(2 * loss) == 2  # no precision of a CPU needs it


def test_each_process_on_a_machine_has_a_gpu_of_its_own(two_gpus) -> None:
    assert [str(Group(rank, 2, rank).device("auto")) for rank in range(2)] == ["cuda:0", "cuda:1"]
    with pytest.raises(InputError, match=r"more processes .* than it has GPUs \(2\); start one for each"):
        Group(2, 3, 2).device("auto")
