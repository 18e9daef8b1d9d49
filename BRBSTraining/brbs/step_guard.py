"""Steps that break, as their losses or gradients are no longer numbers, are counted and leave no number behind.

The optimiser goes on by what it has gathered from the steps before, as it does where a gradient is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class StepGuard:
    """Watches optimisers; a gradient with anything but numbers in it counts as zero.

    What it finds stays on the device until somebody asks, so that no step waits for it.

    Args:
        optimisers: whose steps are watched.
        device: where they compute.
    """

    def __init__(self, optimisers: Iterable[torch.optim.Optimizer], device: torch.device) -> None:
        self._device = device
        self.forget()
        for optimiser in optimisers:
            optimiser.register_step_pre_hook(self._drop_broken_gradient)

    def forget(self) -> None:
        """Counts from zero again."""
        self._good = torch.ones((), dtype=torch.bool, device=self._device)
        self._in_a_row = torch.zeros((), dtype=torch.int64, device=self._device)
        self._broken = torch.zeros((), dtype=torch.int64, device=self._device)

    def _drop_broken_gradient(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        weights = (weight for group in optimiser.param_groups for weight in group["params"])
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        finite = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
        for gradient in gradients:
            gradient.masked_fill_(~finite, 0)
        self._good = self._good & finite

    def count(self, losses: Mapping[str, Tensor]) -> None:
        """Tells of each step what came out, after it has been made.

        Args:
            losses: by name, on the device.
        """
        good = self._good & torch.stack([value.float() for value in losses.values()]).isfinite().all()
        self._in_a_row = torch.where(good, 0, self._in_a_row + 1)
        self._broken += ~good
        self._good = torch.ones_like(good)

    @property
    def in_a_row(self) -> int:
        """Steps that have broken since the last good one; waits for the device."""
        return int(self._in_a_row)

    def take_broken(self) -> int:
        """Steps that have broken since this was last asked; waits for the device."""
        broken = int(self._broken)
        self._broken.zero_()
        return broken


def are_numbers(networks: Iterable[nn.Module]) -> bool:
    """Whether all weights are numbers; waits for the device."""
    return all(bool(weight.isfinite().all()) for network in networks for weight in network.parameters())
