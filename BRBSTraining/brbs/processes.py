"""Several processes that work as one, as PyTorch's launcher ``torchrun`` starts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from . import launcher
from .device import choose_device
from .errors import InputError

PATIENCE = timedelta(days=7)  # the others wait while the first prepares or a pause lasts; the dead are noticed at once
CPU = torch.device("cpu")
ENDED = "another process of this run has ended or cannot be reached; its message above tells why"


@dataclass(frozen=True)
class Group:
    """This process among those that were launched together; by default it is alone, and all methods cost nothing.

    Args:
        rank: number of this process, 0 for the first.
        world: number of all processes, on all machines.
        local_rank: number of this process on its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def launched(cls) -> Group:
        """As the launcher tells."""
        return cls(launcher.rank(), launcher.world(), launcher.local_rank())

    @property
    def first(self) -> bool:
        """Whether this process writes, tells and decides."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of that name; of several processes on a machine each has a GPU of its own.

        Raises:
            InputError: there is no such device, there are too few GPUs, or several processes want Apple's.
        """
        device = choose_device(name)
        if self.world == 1:
            return device
        if device.type == "mps":
            raise InputError("Apple's GPU serves one process only; give --device cpu, or start a single process")
        if device.type != "cuda":
            return device
        gpus = torch.cuda.device_count()
        if self.local_rank >= gpus:
            raise InputError(
                f"more processes were started on this machine than it has GPUs ({gpus}); start one for each "
                "(--nproc-per-node), or give --device cpu"
            )
        return choose_device(f"cuda:{self.local_rank}")

    @contextmanager
    def connected(self, device: torch.device = CPU) -> Iterator[None]:
        """Connects the processes while the block runs; at its end all wait for each other.

        Args:
            device: where the tensors lie that are exchanged.

        Raises:
            InputError: another process has ended.
        """
        if self.world == 1:
            yield
            return
        if not distributed.is_available() or not distributed.is_gloo_available():
            raise InputError("this PyTorch cannot connect processes (it has no Gloo); start a single process")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with _ended():
            self._meet("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        try:
            yield
            with _ended():
                self.gather(None)
        finally:
            distributed.destroy_process_group()

    def _meet(self, backend: str) -> None:
        # A store of its own for each start: the launcher's may still tell where the killed ones could be reached.
        store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
        store = distributed.PrefixStore(f"start {launcher.restarts()}", store)
        distributed.init_process_group(backend, timeout=PATIENCE, store=store, rank=self.rank, world_size=self.world)

    def average(self, gradients: Sequence[Tensor]) -> None:
        """Replaces each tensor by its mean over all processes, in one exchange."""
        if self.world == 1:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with _ended():
            distributed.all_reduce(flat)
        parts = (flat / self.world).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def broadcast(self, value: Any) -> Any:
        """The first process's value (small, any object) in all of them."""
        if self.world == 1:
            return value
        values = [value]
        with _ended():
            distributed.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank; nobody goes on before all have come."""
        if self.world == 1:
            return [value]
        values = [None] * self.world
        with _ended():
            distributed.all_gather_object(values, value)
        return values


ALONE = Group()


class SilentJob:
    """The :class:`brbs.job.JobWriter` of a process that is not the first: asked for nothing, it tells nothing."""

    stop_requested = pause_requested = sample_requested = False

    def update(self, **_: Any) -> None:
        """The first process tells it."""


@contextmanager
def _ended() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that the back ends raise
        raise InputError(ENDED) from error
