"""How long a training takes."""

from __future__ import annotations

from dataclasses import dataclass


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
