"""The training loop: time, validation, checkpoints, events, a clean end."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .augmentation import random_contrast
from .data import TrainingData
from .errors import InputError
from .files import replacing
from .job import JobWriter
from .learner import Learner
from .metrics import dice
from .model import ModelBundle
from .preparation import Prepared
from .schedule import phase
from .settings import Settings

log = logging.getLogger("brbs")

REPORT_SECONDS = 2.0
CHECKPOINT_SECONDS = 120.0
VALIDATION_SHARE = 0.02  # of the time that validation may take
HELD_BACK_SAMPLES = 4
LAST, BEST = "last.pt", "best.pt"


@dataclass(frozen=True)
class Budget:
    """How long to train: minutes of training time (pauses not counted) or a number of steps."""

    minutes: float | None = None
    steps: int | None = None

    def progress(self, seconds: float, step: int) -> float:
        """Share of the budget that is used, 0..1."""
        share = step / self.steps if self.steps else seconds / 60 / self.minutes
        return min(1.0, share)


@dataclass
class Validation:
    """Volumes with reference label maps: images (V, 1, D, H, W), class indices (V, D, H, W) uint8."""

    images: torch.Tensor
    labels: np.ndarray
    real: bool  # annotated scans, not warped atlases


class Trainer:
    """Trains the two networks of a prepared study and keeps the model bundle up to date.

    Args:
        prepared: scans and label maps on the working grid.
        settings: of the study.
        budget: when to end.
        device: where to compute.
        output: folder of the model bundle; checkpoints go to its ``training`` folder.
        job: told of progress, asked for stop and pause requests.
    """

    def __init__(
        self, prepared: Prepared, settings: Settings, budget: Budget, device: torch.device, output: Path, job: JobWriter
    ) -> None:
        self.prepared, self.settings, self.budget, self.job = prepared, settings, budget, job
        self.output, self.device = Path(output), device
        grid = prepared.grid
        self.channels = settings.channels or default_channels(grid.shape)
        data = TrainingData(
            prepared.atlas_images,
            prepared.atlas_labels,
            prepared.unlabeled_images,
            prepared.schema.class_count,
            grid.spacing[::-1],
            device,
        )
        self.learner = Learner(data, settings, self.channels)
        self.validation = self._validation_volumes(data)
        self.step, self.seconds, self.best_dice = 0, 0.0, -1.0
        self.validated_at, self.validation_seconds = 0.0, 0.0
        self.metrics: dict[str, float] = {}
        self._interrupted = threading.Event()

    # ---- the loop

    def run(self) -> bool:
        """Trains until the budget is used or a stop is asked for (request file, Ctrl-C, SIGTERM).

        Returns:
            True when the budget was used up, False when stopped before; the model is written either way.

        Raises:
            InputError: the loss is no longer a number; the last checkpoint stays.
        """
        self.job.update(state="running", message="training")
        with self._signals(), self._bar() as bar:
            last_report = last_checkpoint = time.monotonic()
            losses: dict[str, torch.Tensor] = {}
            while self.progress < 1 and not self._stopping():
                started = time.monotonic()
                losses |= self.learner.step(self.progress)
                self.step += 1
                if self._validation_due():
                    self.validate()
                now = time.monotonic()
                self.seconds += now - started
                if now - last_report >= REPORT_SECONDS or self.progress >= 1:
                    self._report(losses, bar)
                    losses, last_report = {}, now
                if now - last_checkpoint >= CHECKPOINT_SECONDS:
                    self.save_checkpoint(LAST)
                    self.bundle().save(self.output)
                    last_checkpoint = time.monotonic()
        finished = self.progress >= 1
        self._finish(finished)
        return finished

    @property
    def progress(self) -> float:
        """Share of the budget used, 0..1."""
        return self.budget.progress(self.seconds, self.step)

    def _stopping(self) -> bool:
        while self.job.pause_requested and not self.job.stop_requested and not self._interrupted.is_set():
            self.job.update(state="paused", message="paused")
            time.sleep(0.5)
        return self._interrupted.is_set() or self.job.stop_requested

    def _finish(self, finished: bool) -> None:
        self.save_checkpoint(LAST)
        self.validate()
        best = self.output / "training" / BEST
        if finished and self.validation.real and best.is_file():
            state = torch.load(best, map_location="cpu", weights_only=True)
            self.learner.best_segmentation.load_state_dict(state["segmentation"])
            self.metrics = state["metrics"]
        self.bundle().save(self.output)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the loop after the current step; outside the main thread they are left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, lambda *_: self._interrupted.set()) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before):
                signal.signal(number, handler)

    # ---- telling

    def _bar(self) -> tqdm:
        total = self.budget.steps or round(self.budget.minutes * 60)
        return tqdm(total=total, unit="step" if self.budget.steps else "s", disable=None, dynamic_ncols=True)

    def _report(self, losses: dict[str, torch.Tensor], bar: tqdm) -> None:
        values = {name: float(value) for name, value in losses.items()}
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise InputError(
                f"{self.output}: training broke at step {self.step}, {', '.join(wrong)} is no longer a number; "
                "the last checkpoint is kept: --resume goes on from it, a lower learning_rate avoids it"
            )
        current = phase(self.progress, self.settings)
        self.job.event("losses", step=self.step, seconds=round(self.seconds, 2), phase=current, **values)
        self.job.update(state="running", progress=self.progress, message=f"{PHASE_MESSAGES[current]}, step {self.step}")
        bar.n = self.step if self.budget.steps else min(round(self.seconds), bar.total)
        bar.set_description(PHASE_MESSAGES[current], refresh=False)
        bar.set_postfix(dice=f"{self.metrics.get('mean', float('nan')):.3f}", refresh=False)
        bar.refresh()

    # ---- validation

    def _validation_due(self) -> bool:
        if self.budget.steps:
            return self.step % max(1, self.budget.steps // 10) == 0
        return self.seconds - self.validated_at > max(20.0, self.validation_seconds / VALIDATION_SHARE)

    def validate(self) -> None:
        """Dice per structure of the network to predict with; a new best is kept as a checkpoint of its own."""
        started = time.monotonic()
        predicted = self.learner.predict(self.validation.images).cpu().numpy()
        labels = self.prepared.schema.labels
        cases = [dice(p, r, range(1, len(labels) + 1)) for p, r in zip(predicted, self.validation.labels)]
        values = {label.name: float(np.mean([case[i + 1] for case in cases])) for i, label in enumerate(labels)}
        self.metrics = {"mean": float(np.mean(list(values.values())))} | values
        self.job.event("validation", step=self.step, seconds=round(self.seconds, 2), dice=self.metrics)
        if self.metrics["mean"] > self.best_dice:
            self.best_dice = self.metrics["mean"]
            state = {"segmentation": self.learner.best_segmentation.state_dict(), "metrics": self.metrics}
            self._save(state | {"step": self.step}, BEST)
        self.validated_at, self.validation_seconds = self.seconds, time.monotonic() - started

    def _validation_volumes(self, data: TrainingData) -> Validation:
        """Annotated validation scans where there are any, else atlases bent and recoloured by draws of their own."""
        if len(self.prepared.validation_images):
            images = torch.as_tensor(self.prepared.validation_images, device=self.device).unsqueeze(1)
            return Validation(images, self.prepared.validation_labels, real=True)
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        draws = [data.draw_atlas(generator, bend=True) for _ in range(HELD_BACK_SAMPLES)]
        images = random_contrast(torch.cat([image for image, _ in draws]), generator)
        labels = torch.cat([onehot.argmax(1) for _, onehot in draws]).to(torch.uint8)
        return Validation(images, labels.cpu().numpy(), real=False)

    # ---- keeping

    def save_checkpoint(self, name: str) -> None:
        """Everything that a resumed training needs, in one file that replaces the one before."""
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "best_dice": self.best_dice,
            "validated_at": self.validated_at,
            "metrics": self.metrics,
        }
        self._save({"learner": self.learner.state_dict(), "progress": progress}, name)

    def resume(self) -> None:
        """Takes up the last checkpoint.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = self.output / "training" / LAST
        if not path.is_file():
            raise InputError(f"{path}: no checkpoint to resume from; start without --resume")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.learner.load_state_dict(state["learner"])
        except Exception as error:  # torch.load raises whatever the bytes make it raise
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise InputError(f"{path}: damaged, or of other settings ({reason}); train anew with --overwrite") from error
        for name, value in state["progress"].items():
            setattr(self, name, value)

    def _save(self, state: dict, name: str) -> None:
        with replacing(self.output / "training" / name) as aside:
            torch.save(state, aside)

    def bundle(self) -> ModelBundle:
        """The model as it stands."""
        return ModelBundle(
            schema=self.prepared.schema,
            grid=self.prepared.grid,
            settings=self.settings,
            channels=self.channels,
            segmentation=self.learner.best_segmentation.state_dict(),
            registration=self.learner.registration.state_dict(),
            atlas_images=self.prepared.atlas_images,
            atlas_labels=self.prepared.atlas_labels,
            provenance={
                "atlases": self.prepared.atlas_names,
                "unlabeled_count": len(self.prepared.unlabeled_names),
                "step": self.step,
                "training_minutes": round(self.seconds / 60, 2),
                "validation": "annotated scans" if self.validation.real else "bent atlases",
                "dice": self.metrics,
                "device": str(self.device),
                "date": time.strftime("%Y-%m-%d"),
            },
        )


PHASE_MESSAGES = {
    "segmentation": "segmentation on the atlases",
    "registration": "registration",
    "together": "both teach each other",
}


def default_channels(shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Widths of the U-Net for a grid (D, H, W): 16, doubled at each level down while 4 voxels remain; 2 to 4 levels."""
    levels = max(2, min(4, int(math.log2(min(shape) / 4))))
    down = [16 * 2**level for level in range(levels + 1)]
    return tuple(down + down[-2::-1])
