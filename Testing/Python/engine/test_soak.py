"""A long training with many rests needs no more memory and no more open files at its end than at its beginning."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_training import train

from brbs import trainer as trainer_module
from brbs.job import JobReader
from brbs.learner import Learner
from brbs.trainer import Budget

STEPS, PAUSES = 2000, 20
SETTLED = 0.7  # of the training; all phases have begun then
MOST_GROWTH = 3 * 2**20  # bytes, from there on


def resident() -> int:
    """Memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class Rests:
    """Pauses the training every so many steps, lets it go on, and notes what the process holds then."""

    def __init__(self, reader: JobReader) -> None:
        self.reader, self.steps, self.paused = reader, 0, 0
        self.memory: list[int] = []
        self.files: list[int] = []
        self.threads: list[int] = []

    def made_step(self) -> None:
        self.steps += 1
        if self.steps % (STEPS // PAUSES) == 0 and self.steps < STEPS + 1:
            self.memory.append(resident())
            self.files.append(open_files())
            self.threads.append(threading.active_count())
            self.reader.request_pause()
            threading.Thread(target=self._let_go_on).start()

    def _let_go_on(self) -> None:
        end = time.monotonic() + 30
        while self.reader.state != "paused" and time.monotonic() < end:
            time.sleep(0.01)
        self.paused += self.reader.state == "paused"
        self.reader.resume()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory and open files are read as Linux tells them")
def test_memory_and_open_files_stay_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", 5.0)
    rests, plain = Rests(JobReader(tmp_path / "training")), Learner.step

    def step(self: Learner, progress: float):
        losses = plain(self, progress)
        rests.made_step()
        return losses

    monkeypatch.setattr(Learner, "step", step)
    trained, finished = train(tmp_path, Budget(steps=STEPS))
    assert finished and trained.step == STEPS
    print(f"memory MiB: {[value >> 20 for value in rests.memory]}, open files: {rests.files}, threads: {rests.threads}")
    assert rests.paused >= PAUSES - 1  # at the last step the training may end instead
    settled = rests.memory[int(SETTLED * len(rests.memory)) :]
    assert np.median(settled[-3:]) - np.median(settled[:3]) < MOST_GROWTH
    assert max(rests.files[1:]) <= rests.files[0] + 1 and max(rests.threads[1:]) <= rests.threads[0]
