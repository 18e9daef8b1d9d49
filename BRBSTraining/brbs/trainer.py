"""The training loop: time, validation, checkpoints, events, a clean end."""

from __future__ import annotations

import io
import logging
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from .augmentation import random_contrast
from .data import TrainingData
from .device import free_memory, keep_freed_memory
from .errors import InputError
from .files import replacing
from .job import JobWriter
from .learner import Learner
from .metrics import dice
from .model import ModelBundle
from .model_folder import CHECKPOINT_FILE
from .model_preview import preview
from .networks import default_channels
from .preparation import Prepared
from .processes import ALONE, Group, SilentJob
from .sample import draw_sample, write_sample
from .schedule import phase
from .settings import Settings
from .trained_model import trained_model
from .training_memory import is_short

log = logging.getLogger("brbs")

REPORT_SECONDS = 2.0
CHECKPOINT_SECONDS = 120.0
PAUSE_SECONDS = 0.5  # between two looks whether a pause is over
VALIDATION_SHARE = 0.02  # of the time that validation may take
HELD_BACK_SAMPLES = 4
BEST = "best.pt"
BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"


@dataclass(frozen=True)
class Budget:
    """How long to train: minutes of training time (pauses not counted), a number of steps, or what is used up first."""

    minutes: float | None = None
    steps: int | None = None

    def progress(self, seconds: float, step: int) -> float:
        """Share of the budget that is used, 0..1."""
        by_time = seconds / 60 / self.minutes if self.minutes else 0.0
        by_steps = step / self.steps if self.steps else 0.0
        return min(1.0, max(by_time, by_steps))


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
        group: processes that train together; the first one's clock and requests count, and it alone writes.
    """

    def __init__(
        self,
        prepared: Prepared,
        settings: Settings,
        budget: Budget,
        device: torch.device,
        output: Path,
        job: JobWriter | SilentJob,
        group: Group = ALONE,
    ) -> None:
        self.prepared, self.settings, self.budget, self.job = prepared, settings, budget, job
        self.output, self.device, self.group = Path(output), device, group
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
        sparing = is_short(free_memory(device), math.prod(grid.shape), data.class_count)
        if sparing:
            log.info("the memory of %s is short: the step spares memory and takes about a third longer", device)
        else:
            keep_freed_memory()  # quicker, in a tenth more memory
        self.learner = Learner(data, settings, self.channels, sparing, group)
        self.validation = self._validation_volumes(data)
        self.step, self.seconds, self.best_dice = 0, 0.0, -1.0
        self.validated_at, self.validation_seconds = 0.0, 0.0
        self.metrics: dict[str, float] = {}
        self._clock = time.monotonic()
        self._interrupted = threading.Event()
        self._samples = torch.Generator().manual_seed(settings.seed + 2)  # of their own

    # ---- the loop

    def run(self) -> bool:
        """Trains until the budget is used or a stop is asked for (request file, Ctrl-C, SIGTERM).

        Returns:
            True when the budget was used up, False when stopped before; the model is written either way.

        Raises:
            InputError: the losses or weights are no longer numbers, or a file cannot be written; the last checkpoint
                stays.
        """
        self.job.update(state="running", progress=self.progress, message="training")
        self._clock = time.monotonic()
        with self._signals(), self._bar() as bar:
            self._loop(bar)
            finished = self.progress >= 1
            self._finish()
        message = f"{'finished' if finished else 'stopped'} after {self.step} steps"
        self.job.update(state="finished", progress=self.progress, message=message)
        return finished

    def _loop(self, bar: tqdm) -> None:
        report_at = checkpoint_at = self._clock  # both at once, so that there are some
        losses: dict[str, torch.Tensor] = {}
        while self._goes_on():
            losses |= self.learner.step(self.progress)
            self.step += 1
            self._answer_sample_request()
            if self.group.first and self._validation_due():
                self.validate()
            self._tick()
            if self.group.first and self._clock >= report_at:
                self._report(losses, bar)
                losses, report_at = {}, self._clock + REPORT_SECONDS
            # Checked right after a report, which refuses broken losses.
            if self.group.broadcast(not losses and self._clock >= checkpoint_at):
                self.save_checkpoint()
                if self.metrics and self.group.first:  # a model comes with its validation
                    self.bundle().save(self.output)
                checkpoint_at = self._clock + CHECKPOINT_SECONDS
        if losses and self.group.first:
            self._report(losses, bar)
            self._tick()

    def _goes_on(self) -> bool:
        """Whether there is another step to make; all processes go by the clock of the first."""
        goes_on, self.seconds = self.group.broadcast((self.progress < 1 and not self._stopping(), self.seconds))
        return goes_on

    @property
    def progress(self) -> float:
        """Share of the budget used, 0..1."""
        return self.budget.progress(self.seconds, self.step)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended the training."""
        return self._interrupted.is_set()

    def _tick(self) -> None:
        """Counts the time since the last call; a GPU's work is counted when a report waits for it."""
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now

    def _stopping(self) -> bool:
        """Whether to end now; rests first, off the clock, while a pause is asked for."""
        if self.job.pause_requested:
            self._tick()
            self.job.update(state="paused", message="paused")
            while self.job.pause_requested and not self.job.stop_requested and not self.interrupted:
                self._answer_sample_request()
                time.sleep(PAUSE_SECONDS)
            self.job.update(state="running", message="training")
            self._clock = time.monotonic()
        return self.interrupted or self.job.stop_requested

    def _finish(self) -> None:
        self.save_checkpoint()  # first, as validation may take long
        if self.group.first:
            self.validate()
        self.save_checkpoint()
        if not self.group.first:
            return
        bundle = self.bundle()
        if self.validation.real and self._path(BEST).is_file():
            best = torch.load(self._path(BEST), map_location="cpu", weights_only=True)
            self.metrics, bundle.segmentation = best["metrics"], best["segmentation"]
            bundle.provenance |= {"dice": self.metrics, "best_step": best["step"]}
        bundle.save(self.output)
        preview(self.output)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the loop after the current step; outside the main thread they are left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last is Windows' own
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        before = [signal.signal(number, lambda *_: self._interrupted.set()) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    # ---- telling

    def _bar(self) -> tqdm:
        disable = None if self.group.first else True  # None: where there is no terminal
        return tqdm(total=1.0, initial=self.progress, bar_format=BAR_FORMAT, disable=disable, dynamic_ncols=True)

    def _report(self, losses: dict[str, torch.Tensor], bar: tqdm) -> None:
        values = {name: float(value) for name, value in losses.items()}
        if wrong := [name for name, value in values.items() if not math.isfinite(value)]:
            self._refuse_broken(", ".join(wrong))
        current = phase(self.progress, self.settings)
        self.job.event("losses", step=self.step, seconds=round(self.seconds, 2), phase=current, **values)
        self.job.update(state="running", progress=self.progress, message=f"{PHASE_MESSAGES[current]}, step {self.step}")
        bar.n = self.progress
        bar.set_description_str(PHASE_MESSAGES[current], refresh=False)
        dice = {"dice": f"{self.metrics['mean']:.3f}"} if self.metrics else {}
        bar.set_postfix(step=self.step, **dice, refresh=False)
        bar.refresh()

    def _answer_sample_request(self) -> None:
        """Shows what is being learned from, if somebody wants to see it; the training goes on as it would have."""
        if not self.job.sample_requested:
            return
        self.job.clear_sample_request()
        sample = draw_sample(self.learner, self.progress, self._samples)
        try:
            self.job.event("sample", step=self.step, **write_sample(sample, self.prepared, self.job.folder))
        except InputError as error:
            log.warning("%s", error)  # the training is worth more than the sample

    def _refuse_broken(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.output}: training broke at step {self.step}: {what} no longer a number; the last checkpoint and "
            "model are kept; train anew with a lower --learning-rate"
        )

    # ---- validation

    def _validation_due(self) -> bool:
        if self.progress >= 1:
            return False  # the end has its own
        if self.budget.steps and not self.budget.minutes:
            return self.step % max(1, self.budget.steps // 10) == 0
        return self.seconds - self.validated_at > max(20.0, self.validation_seconds / VALIDATION_SHARE)

    def validate(self) -> None:
        """Dice per structure of the network to predict with; a new best is kept as a checkpoint of its own."""
        started = time.monotonic()
        predicted = self.learner.predict(self.validation.images).cpu().numpy()
        labels = self.prepared.schema.labels
        cases = [dice(p, r, range(1, len(labels) + 1)) for p, r in zip(predicted, self.validation.labels, strict=True)]
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

    def save_checkpoint(self) -> None:
        """Everything that a resumed training needs, in one file that replaces the one before.

        All processes that train together have to call it.

        Raises:
            InputError: the weights are no longer numbers, or the file cannot be written; the one before stays.
        """
        networks = (self.learner.segmentation, self.learner.registration)
        if not all(bool(weight.isfinite().all()) for network in networks for weight in network.parameters()):
            self._refuse_broken("weights")
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "best_dice": self.best_dice,
            "validated_at": self.validated_at,
            "metrics": self.metrics,
        }
        learner = self.learner.state_dict()
        if self.group.first:
            self._save({"learner": learner, "progress": progress}, CHECKPOINT_FILE)

    def resume(self) -> None:
        """Takes up the last checkpoint.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = self._path(CHECKPOINT_FILE)
        if not path.is_file():
            raise InputError(f"{path}: no checkpoint to resume from; train anew with --overwrite")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.learner.load_state_dict(state["learner"])
        except Exception as error:  # torch.load raises whatever the bytes make it raise
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise InputError(f"{path}: damaged or of another study ({reason}); train anew with --overwrite") from error
        for name, value in state["progress"].items():
            setattr(self, name, value)
        count = 1 + len(state["learner"].get("other_generators", []))
        if count != self.group.world:
            log.info("the checkpoint was made by %d process(es); %d go on with it", count, self.group.world)
        if not self.group.first:
            return
        for partial in [*self.output.glob(".partial-*"), *path.parent.glob(".partial-*")]:  # of a killed training
            partial.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.output / "training" / name

    def _save(self, state: dict, name: str) -> None:
        buffer = io.BytesIO()  # torch hides the reason when a file cannot be written
        torch.save(state, buffer)
        with replacing(self._path(name)) as aside:
            aside.write_bytes(buffer.getbuffer())

    def bundle(self) -> ModelBundle:
        """The model as it stands."""
        return trained_model(
            self.prepared,
            self.settings,
            self.learner.best_segmentation.state_dict(),
            self.learner.registration.state_dict(),
            unlabeled_count=len(self.prepared.unlabeled_names),
            step=self.step,
            registration_steps=self.learner.own_steps["registration"],
            training_minutes=round(self.seconds / 60, 2),
            validation="annotated scans" if self.validation.real else "bent atlases",
            dice=self.metrics,
            device=str(self.device),
            date=time.strftime("%Y-%m-%d"),
        )


PHASE_MESSAGES = {
    "segmentation": "segmentation on the atlases",
    "registration": "registration",
    "together": "both teach each other",
}
