"""The training loop: time, validation, checkpoints, events, a clean end."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from .budget import Budget
from .checkpoint import read_state, write_state
from .data import TrainingData
from .device import free_memory, keep_freed_memory, telling_memory
from .errors import InputError, first_line, memory_was_short
from .interruption import Interruption
from .job import JobWriter
from .learner import Learner
from .model import ModelBundle
from .model_folder import CHECKPOINT_FILE, TRAINING_FOLDER
from .model_preview import preview
from .preparation import Prepared
from .processes import ALONE, Group, SilentJob
from .progress_bar import TrainingBar
from .sample import draw_sample, write_sample
from .schedule import COARSE, PHASE_MESSAGES
from .settings import Settings
from .step_guard import StepGuard, are_numbers
from .trained_model import trained_model, unet_of
from .training_memory import is_short
from .validation import Validation

log = logging.getLogger("brbs")

REPORT_SECONDS = 2.0
CHECKPOINT_SECONDS = 120.0
PAUSE_SECONDS = 0.5  # between two looks whether a pause is over
VALIDATION_SHARE = 0.02  # of the time that validation may take
MOST_BROKEN = 10  # steps in a row that break, before the last checkpoint is taken up again
MOST_RESTORATIONS = 3  # in one run
BEST = "best.pt"
TOO_EARLY = "; the model has only seen coarse volumes and is of no use yet: train it further"
MEMORY_SPARED = "the memory of %s is short: the step spares memory and takes longer, on a GPU twice as long or more"


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
        self.channels, self.strides = unet_of(settings, prepared.grid)
        with telling_memory(device, self.output):
            self._place()
        self.guard = StepGuard(self.learner.optimisers.values(), device)
        self.restorations, self.broken_steps, self._trouble = 0, 0, ""
        self.step, self.seconds, self.best_dice = 0, 0.0, -1.0
        self.validated_at, self.validation_seconds = 0.0, 0.0
        self.metrics: dict[str, float] = {}
        self._clock = time.monotonic()
        self._interruption = Interruption()
        self._samples = torch.Generator().manual_seed(settings.seed + 2)  # of their own

    def _place(self) -> None:
        """Puts scans and networks on the device."""
        prepared, settings, device = self.prepared, self.settings, self.device
        arrays = prepared.atlas_images, prepared.atlas_labels, prepared.unlabeled_images
        data = TrainingData(*arrays, prepared.schema.class_count, prepared.grid.spacing[::-1], device)
        sparing = is_short(free_memory(device), math.prod(prepared.grid.shape), data.class_count)
        if sparing:
            log.info(MEMORY_SPARED, device)
        else:
            keep_freed_memory()  # quicker, in a tenth more memory
        self.learner = Learner(data, settings, self.channels, sparing, self.group, self.strides)
        self.validation = Validation.of(prepared, data, settings.seed + 1)

    @property
    def _networks(self) -> tuple[nn.Module, nn.Module]:
        """Those that learn."""
        return self.learner.segmentation, self.learner.registration

    # ---- the loop

    def run(self) -> bool:
        """Trains until the budget is used or a stop is asked for (request file, Ctrl-C, SIGTERM).

        Returns:
            True when the budget was used up, False when stopped before; the model is written either way.

        Raises:
            InputError: losses or weights are no longer numbers again and again, the memory is too small, or a file
                cannot be written; the last checkpoint stays.
        """
        self.job.update(state="running", progress=self.progress, message="training")
        self._clock = time.monotonic()
        bar = TrainingBar(self.progress, self.group.first)
        with self._interruption, bar, telling_memory(self.device, self.output):
            self._loop(bar)
            finished = self.progress >= 1
            self._finish()
        early = TOO_EARLY if self.learner.phase(self.progress) == COARSE else ""
        message = f"{'finished' if finished else 'stopped'} after {self.step} steps{self._trouble}{early}"
        self.job.update(state="finished", progress=self.progress, message=message)
        return finished

    def _loop(self, bar: TrainingBar) -> None:
        report_at = checkpoint_at = self._clock  # both at once, so that there are some
        losses: dict[str, torch.Tensor] = {}
        while self._goes_on():
            losses |= self._learn()
            self.step += 1
            self._answer_sample_request()
            if self.group.first and self._validation_due():
                self.validate()
            self._tick()
            if self.group.first and self._clock >= report_at:
                self._report(losses, bar)
                losses, report_at = {}, self._clock + REPORT_SECONDS
            # Asked right after a report, which has waited for the device.
            due = self.group.broadcast("" if losses else self._due(checkpoint_at))
            if due == "restoration":
                self._restore()
            elif due == "checkpoint":
                self.save_checkpoint()
                if self.metrics and self.group.first:  # a model comes with its validation
                    self.bundle().save(self.output)
                checkpoint_at = self._clock + CHECKPOINT_SECONDS
        if losses and self.group.first:
            self._report(losses, bar)
            self._tick()

    def _learn(self) -> dict[str, torch.Tensor]:
        """A step; where the memory turns out to be too small for it, it is tried again sparingly, and so are the next.

        Of several processes none can try again by itself, as the others wait.
        """
        try:
            losses = self.learner.step(self.progress)
            self.guard.count(losses)
            return losses
        except (RuntimeError, MemoryError) as error:
            if self.group.world > 1 or not memory_was_short(error):
                raise
            if self.learner.segmentation.unet.sparing:
                self.save_checkpoint()
                raise
        # Not above: the exception holds on to what the step had computed.
        self._spare_memory()
        return self._learn()

    def _spare_memory(self) -> None:
        log.warning(MEMORY_SPARED, self.device)
        for network in self._networks:
            network.unet.sparing = True
            network.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _due(self, checkpoint_at: float) -> str:
        """What is to be done before the next step, if anything: "restoration" or "checkpoint"."""
        in_a_row = self.guard.in_a_row
        if in_a_row >= MOST_BROKEN:
            return "restoration"
        if in_a_row or self._clock < checkpoint_at:
            return ""
        return "checkpoint" if are_numbers(self._networks) else "restoration"

    def _restore(self) -> None:
        """Takes up the last checkpoint after steps that broke, with other draws than those that led there."""
        broke_at = self.step
        if self.restorations == MOST_RESTORATIONS or not self._path(CHECKPOINT_FILE).is_file():
            self._refuse_broken("losses or weights")
        self.resume()
        self.restorations += 1
        generator = self.learner.generator
        generator.manual_seed(int(torch.randint(2**62, (), generator=generator)) + self.restorations)
        self.guard.forget()
        self._trouble = f", gone back from step {broke_at}, where losses were not finite"
        if self.group.first:
            log.warning("%d steps in a row broke: going on from step %d again", MOST_BROKEN, self.step)
            self.job.event("restored", step=self.step, broke_at=broke_at)

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
        return self._interruption.happened

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
            self._take_best(bundle)
        bundle.save(self.output)
        preview(self.output)

    def _take_best(self, bundle: ModelBundle) -> None:
        try:
            best = read_state(self._path(BEST))
        except InputError as error:
            log.warning("%s; the model has the last weights instead", error)
            return
        self.metrics, bundle.segmentation = best["metrics"], best["segmentation"]
        bundle.provenance |= {"dice": self.metrics, "best_step": best["step"]}

    # ---- telling

    def _report(self, losses: dict[str, torch.Tensor], bar: TrainingBar) -> None:
        values = {name: float(value) for name, value in losses.items()}
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        self._tell_broken_steps()
        current = self.learner.phase(self.progress)
        self.job.event("losses", step=self.step, seconds=round(self.seconds, 2), phase=current, **values)
        message = f"{PHASE_MESSAGES[current]}, step {self.step}{self._trouble}"
        self.job.update(state="running", progress=self.progress, message=message)
        bar.show(PHASE_MESSAGES[current], self.progress, self.step, self.metrics.get("mean"))

    def _tell_broken_steps(self) -> None:
        broken = self.guard.take_broken()
        if broken:
            self.broken_steps += broken
            self._trouble = f", {self.broken_steps} left out as their losses were not finite"
            log.warning("step %d: %d of the last steps broke (losses or gradients no numbers)", self.step, broken)
            self.job.event("broken", step=self.step, count=broken)

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
            f"{self.output}: training broke at step {self.step}: {what} not finite; the last checkpoint and "
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
        self.metrics = self.validation.dice(predicted, self.prepared.schema)
        self.job.event("validation", step=self.step, seconds=round(self.seconds, 2), dice=self.metrics)
        if self.metrics["mean"] > self.best_dice:
            self.best_dice = self.metrics["mean"]
            state = {"segmentation": self.learner.best_segmentation.state_dict(), "metrics": self.metrics}
            write_state(state | {"step": self.step}, self._path(BEST))
        self.validated_at, self.validation_seconds = self.seconds, time.monotonic() - started

    # ---- keeping

    def save_checkpoint(self) -> None:
        """Everything that a resumed training needs, in one file that replaces the one before.

        All processes that train together have to call it.

        Raises:
            InputError: the weights are no longer numbers, or the file cannot be written; the one before stays.
        """
        if not are_numbers(self._networks):
            self._refuse_broken("weights")
        progress = {name: getattr(self, name) for name in ("step", "seconds", "best_dice", "validated_at", "metrics")}
        learner = self.learner.state_dict()
        if self.group.first:
            write_state({"learner": learner, "progress": progress}, self._path(CHECKPOINT_FILE))

    def resume(self) -> None:
        """Takes up the last checkpoint.

        Raises:
            InputError: there is none, or it is damaged and no model can stand in for it.
        """
        path = self._path(CHECKPOINT_FILE)
        if not path.is_file():
            raise InputError(f"{path}: no checkpoint to resume from; train anew with --overwrite")
        try:
            state = read_state(path)
        except InputError as error:
            self._take_up_model(error)
        else:
            self._take_up(state, path)
        if self.group.first:
            for partial in [*self.output.glob(".partial-*"), *path.parent.glob(".partial-*")]:  # of a killed training
                partial.unlink(missing_ok=True)

    def _take_up(self, state: dict, path: Path) -> None:
        try:
            self.learner.load_state_dict(state["learner"])
        except Exception as error:  # as many kinds as there are ways not to fit
            raise InputError(f"{path}: of another study ({first_line(error)}); train anew with --overwrite") from error
        for name, value in state["progress"].items():
            setattr(self, name, value)
        count = 1 + len(state["learner"].get("other_generators", []))
        if count != self.group.world:
            log.info("the checkpoint was made by %d process(es); %d go on with it", count, self.group.world)

    def _take_up_model(self, damage: InputError) -> None:
        """A torn checkpoint costs what the optimisers have gathered, and S goes on from its average."""
        try:
            bundle = ModelBundle.load(self.output)
            for network in (self.learner.segmentation, self.learner.best_segmentation):
                network.load_state_dict(bundle.segmentation)
            self.learner.registration.load_state_dict(bundle.registration)
            told = bundle.provenance
            self.step, self.seconds, self.metrics = told["step"], 60 * told["training_minutes"], told["dice"]
            self.best_dice = self.metrics["mean"]
            self.learner.own_steps = {name: told.get(f"{name}_steps", 0) for name in ("segmentation", "registration")}
        except (InputError, RuntimeError, KeyError) as error:
            raise InputError(f"{damage}; train anew with --overwrite") from error
        log.warning("%s; going on from the model of step %d", damage, self.step)

    def _path(self, name: str) -> Path:
        return self.output / TRAINING_FOLDER / name

    def bundle(self) -> ModelBundle:
        """The model as it stands."""
        return trained_model(
            self.prepared,
            self.settings,
            self.learner.best_segmentation.state_dict(),
            self.learner.registration.state_dict(),
            unlabeled_count=len(self.prepared.unlabeled_names),
            step=self.step,
            segmentation_steps=self.learner.own_steps["segmentation"],
            registration_steps=self.learner.own_steps["registration"],
            training_minutes=round(self.seconds / 60, 2),
            validation="annotated scans" if self.validation.real else "bent atlases",
            dice=self.metrics,
            device=str(self.device),
            date=time.strftime("%Y-%m-%d"),
        )
