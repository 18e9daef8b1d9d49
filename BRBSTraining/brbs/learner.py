"""Both networks with their optimisers: one training step, and all state that a resumed training needs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .anisotropy import Strides
from .data import TrainingData, Triple
from .device import autocast, gradient_scaler, memory_format
from .networks import RegistrationNet, SegmentationNet
from .processes import ALONE, Group
from .schedule import COARSE, REGISTRATION, SEGMENTATION, learning_rate, phase
from .settings import Settings
from .steps import (
    SCAN_1,
    SCAN_2,
    Losses,
    Network,
    Pair,
    atlas_step,
    draw_pair,
    registration_step,
    segmentation_step,
)

# Between the random streams of processes that learn together; wide of the seeds that validation and samples take.
SEED_STRIDE = 1000
COARSE_SCALE = 2  # of the volumes that S begins with, see `brbs.anisotropy.axis_scales`
REFRESH_SHARE = 0.1  # of the training after which a scan's pseudo labels are renewed when it is drawn


class Learner:
    """R, S and S's running average (the teacher) on one device.

    Args:
        data: drawn from; its pseudo label maps are rewritten as S improves.
        settings: weights, rates and shares.
        channels: widths of both U-Nets.
        sparing: train in much less memory, in more time; see :class:`brbs.networks.UNet`.
        group: processes that learn together: each draws by itself, their gradients are averaged.
        strides: of both U-Nets, see :class:`brbs.networks.UNet`.
    """

    def __init__(
        self,
        data: TrainingData,
        settings: Settings,
        channels: tuple[int, ...],
        sparing: bool = False,
        group: Group = ALONE,
        strides: Strides | None = None,
    ) -> None:
        self.data, self.settings, self.device, self.group = data, settings, data.device, group
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.segmentation = self._place(SegmentationNet(data.class_count, channels, strides))
            self.registration = self._place(RegistrationNet(channels, strides))
        self.segmentation.unet.sparing = self.registration.unet.sparing = sparing
        self.teacher = copy.deepcopy(self.segmentation).requires_grad_(False) if settings.averaging else None
        self.optimisers = {
            "segmentation": torch.optim.Adam(self.segmentation.parameters(), lr=settings.learning_rate),
            "registration": torch.optim.Adam(self.registration.parameters(), lr=settings.learning_rate),
        }
        self.scaler = gradient_scaler(self.device)
        self.generator = torch.Generator().manual_seed(settings.seed + SEED_STRIDE * group.rank)
        self.own_steps = {"segmentation": 0, "registration": 0}
        # Progress at which each scan's pseudo label map was made.
        self.labelled_at = torch.full((len(data.scans),), -torch.inf, dtype=torch.float64)

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self.device, memory_format=memory_format(self.device))

    @property
    def best_segmentation(self) -> SegmentationNet:
        """The network to predict with: the running average where there is one."""
        return self.teacher if self.teacher is not None else self.segmentation

    def phase(self, progress: float) -> str:
        """The phase of the next step, see :func:`brbs.schedule.phase`."""
        return phase(progress, self.own_steps["segmentation"], self.own_steps["registration"], self.settings)

    def step(self, progress: float) -> Losses:
        """One step of the phase that ``progress`` (0..1) lies in.

        Returns:
            Losses by name, detached, still on the device.
        """
        current = self.phase(progress)
        if current in (COARSE, SEGMENTATION):
            scale = COARSE_SCALE if current == COARSE else 1
            losses = self._learn("segmentation", progress, lambda: self._atlas_losses(scale))
        else:
            losses = self._learn_from_scans(progress, alone=current == REGISTRATION)
        return {name: value.detach() for name, value in losses.items()}

    def _learn_from_scans(self, progress: float, alone: bool) -> Losses:
        """R learns from two of an atlas and two scans if it is its turn, and S from all three, unless R is alone."""
        turn = alone or self.own_steps["segmentation"] % self.settings.registration_interval == 0
        pair = draw_pair(self.generator) if turn else ()
        asked = pair if alone else (SCAN_1, *pair)  # S's sample takes the style of scan 1, and its labels
        scans = self.data.draw_scans(self.generator)
        labelled = [scan for part, scan in zip((SCAN_1, SCAN_2), scans) if part in asked]
        triple, losses = self.draw(scans, progress, self.generator, labelled=labelled), {}
        if pair:
            losses |= self._learn("registration", progress, lambda: self._registration_losses(triple, pair))
        if not alone:
            losses |= self._learn("segmentation", progress, lambda: self._segmentation_losses(triple))
        return losses

    def _learn(self, name: str, progress: float, compute) -> Losses:
        optimiser = self.optimisers[name]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(progress, self.own_steps[name], self.settings)
        losses = compute()
        optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(losses[f"{name}_total"]).backward()
        weights = (weight for group in optimiser.param_groups for weight in group["params"])
        self.group.average([weight.grad for weight in weights if weight.grad is not None])
        self.scaler.step(optimiser)
        self.scaler.update()
        self.own_steps[name] += 1
        if name == "segmentation":
            self._average()
        return losses

    def _atlas_losses(self, scale: int) -> Losses:
        return atlas_step(self.applied(self.segmentation), self.data, self.settings, self.generator, scale)

    def _registration_losses(self, triple: Triple, pair: Pair) -> Losses:
        return registration_step(self.applied(self.registration), triple, pair, self.settings)

    def _segmentation_losses(self, triple: Triple) -> Losses:
        teacher = None if self.teacher is None else self.applied(self.teacher)
        networks = self.applied(self.segmentation), teacher, self.applied(self.registration)
        return segmentation_step(*networks, triple, self.settings, self.generator)

    def applied(self, network: nn.Module) -> Network:
        """The network under autocast, its input in the memory format of its weights."""

        def run(*volumes: Tensor) -> Tensor:
            with autocast(self.device):
                return network(*(volume.contiguous(memory_format=memory_format(self.device)) for volume in volumes))

        return run

    @torch.no_grad()
    def _average(self) -> None:
        if self.teacher is None:
            return
        steps = self.own_steps["segmentation"]
        decay = min(self.settings.averaging, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.segmentation.parameters()), 1 - decay)

    def draw(
        self,
        scans: tuple[int, int],
        progress: float,
        generator: torch.Generator,
        atlas: int | None = None,
        labelled: Sequence[int] | None = None,
    ) -> Triple:
        """A triple whose scans carry S's opinion: stored label maps, or S's own of the moment as published.

        Args:
            scans: indices of the two unlabeled scans.
            progress: of the training; pseudo labels that are too old then are renewed.
            generator: of the draws.
            atlas: index of the atlas; None: any.
            labelled: which of the scans will be asked for their label maps; None: both.
        """
        augmentation = self.settings.augmentation
        # Sharp samples take label maps from before the bending.
        if self.teacher is not None or augmentation != "published":
            self._renew_labels(scans if labelled is None else labelled, progress)
            return self.data.draw_triple(scans, generator, augmentation, atlas)
        triple = self.data.draw_triple(scans, generator, augmentation, atlas)
        with torch.no_grad():
            labels = self.applied(self.segmentation)(torch.cat([triple.scan_1, triple.scan_2])).float().softmax(1)
        triple.scan_1_labels, triple.scan_2_labels = labels.split(1)
        return triple

    def _renew_labels(self, scans: Sequence[int], progress: float) -> None:
        """Writes label maps by :attr:`best_segmentation` of those scans into the data whose are missing or old."""
        # Progress falls when a resumed training is given a larger budget.
        stale = [scan for scan in scans if not 0 <= progress - self.labelled_at[scan] < REFRESH_SHARE]
        if stale:
            self.data.scan_labels[stale] = self.predict(self.data.scans[stale])
            self.labelled_at[stale] = progress

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Class indices (N, D, H, W) uint8 of images (N, 1, D, H, W), by :attr:`best_segmentation`."""
        network = self.applied(self.best_segmentation)
        return torch.cat([network(pair).argmax(1).to(torch.uint8) for pair in images.split(2)])

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, random state, pseudo labels: plain tensors and numbers, safe to load.

        All processes that learn together have to call it; the random state is that of all.
        """
        generator, *others = self.group.gather(self.generator.get_state())
        return {
            "segmentation": self.segmentation.state_dict(),
            "registration": self.registration.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "scaler": self.scaler.state_dict(),
            "generator": generator,
            "other_generators": others,
            "own_steps": dict(self.own_steps),
            "labelled_at": self.labelled_at,
            "scan_labels": self.data.scan_labels,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up exactly where :meth:`state_dict` was called; a process that was not there then draws anew."""
        self.segmentation.load_state_dict(state["segmentation"])
        self.registration.load_state_dict(state["registration"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if state["scaler"]:  # empty where it was not in use, as on another device
            self.scaler.load_state_dict(state["scaler"])
        self.own_steps = dict(state["own_steps"])
        generators = [state["generator"], *state.get("other_generators", [])]  # not in older checkpoints
        if self.group.rank < len(generators):
            self.generator.set_state(generators[self.group.rank].cpu())
        else:
            seed = self.settings.seed + SEED_STRIDE * self.group.rank
            self.generator.manual_seed(seed + sum(self.own_steps.values()))
        self.labelled_at = state["labelled_at"].cpu()
        self.data.scan_labels = state["scan_labels"].to(self.device)
