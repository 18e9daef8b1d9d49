"""Where and how tensors are computed: device, memory, memory format."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from .control_groups import free_in_control_groups
from .errors import InputError, MemoryTooSmall, memory_was_short
from .grid_choice import CPU_BUDGET, LARGEST_BUDGET, SMALLEST_BUDGET
from .launcher import local_world
from .training_memory import SPARING, USABLE_SHARE

PROBE_ROUNDS = 8  # of both precisions, a few milliseconds each


def available_devices() -> list[str]:
    """Names that ``--device`` takes on this machine, the best first, ``cpu`` always last."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available() and _mps_computes():
        names.append("mps")
    return [*names, "cpu"]


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; ``auto`` takes the first GPU there is, else the processor.

    Raises:
        InputError: no such device; the message lists those there are.
    """
    names = available_devices()
    if name == "auto":
        return torch.device(names[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in names:
        raise InputError(f"device '{name}': not on this machine; there are: {', '.join(['auto', *names])}")
    return torch.device(wanted)


def _mps_computes() -> bool:
    # Apple's back end lacks some 3-D operators in some versions; try those we need once.
    try:
        x = torch.rand(1, 1, 7, 8, 8, device="mps", requires_grad=True)
        y = nn.functional.max_pool3d(x, 2, ceil_mode=True)
        y = nn.functional.interpolate(y, scale_factor=2, mode="trilinear", align_corners=True)
        grid = torch.zeros(1, 8, 8, 8, 3, device="mps")
        nn.functional.grid_sample(y, grid, align_corners=True).sum().backward()
    except RuntimeError:  # of which "not implemented" is one
        return False
    return True


def voxel_budget(device: torch.device, classes: int, scans: int = 0) -> int:
    """Largest working grid, in voxels, that trains within the memory now free on the device.

    Args:
        device: where to train.
        classes: structures and background.
        scans: how many lie there, with their label maps.
    """
    fits = SPARING.most_voxels(int(USABLE_SHARE * free_memory(device)), classes, scans)
    largest = CPU_BUDGET if device.type == "cpu" else LARGEST_BUDGET
    return max(SMALLEST_BUDGET, min(fits, largest))


def free_memory(device: torch.device) -> int:
    """Memory in bytes that this process may take.

    On a GPU it is what is free there or kept by PyTorch for the next tensors; on a CPU or Apple's GPU what is free in
    the machine and within the limit of a batch system's job or a container, of which the processes that were launched
    together have equal shares.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # Windows and macOS: nothing in the standard library tells
        free = 8 * 2**30
    return min([free, *free_in_control_groups()]) // local_world()


def share_processor() -> None:
    """Gives each of several processes on a machine its share of the cores.

    The launcher tells each to use a single one, which leaves most of a large processor idle.
    """
    count = local_world()
    if count > 1 and os.environ.get("OMP_NUM_THREADS") == "1":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // count))


@contextmanager
def telling_memory(device: torch.device, output: Path) -> Iterator[None]:
    """Where the memory is too small for a training, says what to do.

    Args:
        device: whose memory.
        output: folder of the model.

    Raises:
        MemoryTooSmall: as it says.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not memory_was_short(error):
            raise
        elsewhere = "" if device.type == "cpu" else "take --device cpu, "
        raise MemoryTooSmall(
            f"{output}: the memory of {device} is too small for this training; close other programs and start it "
            f"again (--resume goes on from the last checkpoint), {elsewhere}or train anew with a larger --spacing"
        ) from error


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last on a CPU, where oneDNN is faster with it.

    On a GPU, PyTorch's group normalisation copies such volumes, which takes longer than the copies that cuDNN makes of
    the others; Apple's back end knows no other format.
    """
    return torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format


def keep_freed_memory() -> None:
    """Lets glibc keep large freed blocks; else each step maps and clears its activations anew, a fifth of its time."""
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        m_trim_threshold, m_mmap_threshold, largest = -1, -3, 2**31 - 1
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, largest)
        libc.mallopt(m_trim_threshold, largest)


@functools.lru_cache
def reduced_precision(device: torch.device) -> torch.dtype | None:
    """The 16-bit type that this device computes networks in faster than in float32, or None.

    A GPU's type follows its generation; a CPU with bfloat16 instructions is timed once on a small block.
    """
    if device.type == "cuda":
        native = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu" and _cpu_has_bfloat16() and _bfloat16_is_faster():
        return torch.bfloat16
    return None


def autocast(device: torch.device) -> torch.autocast:
    """Context in which networks compute in :func:`reduced_precision`, or plainly in float32."""
    dtype = reduced_precision(device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def gradient_scaler(device: torch.device) -> torch.amp.GradScaler:
    """Scaler of losses that keeps small gradients in float16; with another precision of the device it does nothing."""
    enabled = reduced_precision(device) == torch.float16
    if not hasattr(torch.amp, "GradScaler"):  # PyTorch 2.2, the last for Macs with Intel processors
        return torch.cuda.amp.GradScaler(enabled=enabled)
    return torch.amp.GradScaler(device.type, enabled=enabled)


def _cpu_has_bfloat16() -> bool:
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


@torch.inference_mode(False)
@torch.enable_grad()  # whatever the caller is about
def _bfloat16_is_faster() -> bool:
    convolution = nn.Conv3d(16, 16, 3, padding=1).to(memory_format=torch.channels_last_3d)
    volume = torch.rand(2, 16, 24, 24, 24).to(memory_format=torch.channels_last_3d)

    def seconds(enabled: bool) -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            learned = convolution(volume).float().sum()
        learned.backward()
        return time.perf_counter() - start

    # On one thread, in turns, each one's best: other work on the machine, which several threads would wait for at every
    # turn, is then missed by some of the rounds.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rounds = [(seconds(True), seconds(False)) for _ in range(PROBE_ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    reduced, plain = (min(times) for times in zip(*rounds))
    return reduced < plain
