"""Several processes, as ``torchrun`` starts them: one training, one writer; a killed one is started again."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from launched import launch, needs_processes
from tiny_study import SETTINGS, train_arguments, write_study
from tiny_training import training_data
from waiting import wait

from brbs.__main__ import leave, main
from brbs.job import JobReader
from brbs.learner import SEED_STRIDE, Learner
from brbs.processes import Group

PROGRESS = (0.1, 0.5, 0.9)  # a step of each phase
LONG = 1_000_000  # steps: more than a test waits for
NETWORKS = ("segmentation", "registration", "teacher")

pytestmark = needs_processes


@dataclass(frozen=True)
class ThreadedGroup(Group):
    """Processes that are threads of this one: what the real ones have to come to."""

    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))
    brought: dict[int, list[torch.Tensor]] = field(default_factory=dict)

    def average(self, gradients: list[torch.Tensor]) -> None:
        self.brought[self.rank] = [gradient.clone() for gradient in gradients]
        self.meeting.wait(60)
        for gradient, *all_ranks in zip(gradients, *(self.brought[rank] for rank in range(self.world)), strict=True):
            gradient.copy_(sum(all_ranks) / self.world)
        self.meeting.wait(60)


def learner(group: Group) -> Learner:
    return Learner(training_data(), SETTINGS, SETTINGS.channels, group=group)


def weights_by_step(learner: Learner) -> list[dict[str, torch.Tensor]]:
    """All networks' weights after each step, on one thread as in a process of the launcher."""
    torch.set_num_threads(1)  # for this thread of Python's
    found = []
    for progress in PROGRESS:
        learner.step(progress)
        states = {name: getattr(learner, name).state_dict() for name in NETWORKS if getattr(learner, name) is not None}
        found.append({f"{name}.{key}": value.clone() for name, state in states.items() for key, value in state.items()})
    return found


def test_two_processes_learn_as_one_from_the_draws_of_both(tmp_path: Path, one_thread) -> None:
    ended = launch(Path(__file__), tmp_path)
    assert ended.returncode == 0, ended.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))

    shared = ThreadedGroup(0, 2)
    groups = [shared, ThreadedGroup(1, 2, meeting=shared.meeting, brought=shared.brought)]
    learners = [learner(group) for group in groups]
    other = threading.Thread(target=weights_by_step, args=(learners[1],))
    other.start()
    expected = weights_by_step(learners[0])
    other.join()

    for step in (0, 2):
        torch.testing.assert_close(first[step], second[step], rtol=0, atol=0)
        torch.testing.assert_close(first[step], expected[step], rtol=1e-5, atol=1e-6)
    alone = weights_by_step(learner(Group()))[2]
    moved = max(float((expected[2][name] - alone[name]).abs().max()) for name in alone)
    assert moved > 2e-5, "the second process must count"


@pytest.mark.slow
def test_killed_process_is_started_again_and_the_training_finishes(tmp_path: Path) -> None:
    output = tmp_path / "Modell ü"
    arguments = train_arguments(write_study(tmp_path / "study"), output, "--study", str(tmp_path / "kept"), steps=8)
    ended = launch(Path(__file__), *arguments, restarts=1, KILL_AT_STEP="5")
    assert ended.returncode == 0, ended.stderr
    assert "going on at step" in ended.stderr
    job = JobReader(output / "training")
    assert (job.state, job.progress) == ("finished", 1.0)
    assert not (tmp_path / "kept" / "training.lock").exists()
    events, _ = job.events()
    validated = [event["step"] for event in events if event["kind"] == "validation"]
    assert validated == [1, 2, 3, 4, *range(2, 9)], "one process tells; it went on from the checkpoint of step 1"
    checkpoint = torch.load(output / "training" / "last.pt", weights_only=True)
    assert checkpoint["progress"]["step"] == 8
    assert len(checkpoint["learner"]["other_generators"]) == 1
    assert (output / "model.json").is_file()


def test_checkpoint_is_taken_up_by_more_processes_with_draws_of_their_own() -> None:
    state = learner(Group()).state_dict()
    later = learner(Group(1, 1))
    later.load_state_dict(state)
    assert not torch.equal(later.generator.get_state(), state["generator"])
    assert later.generator.initial_seed() == SETTINGS.seed + SEED_STRIDE


@pytest.mark.slow
def test_two_processes_rest_stop_and_go_on_together(tmp_path: Path) -> None:
    output = tmp_path / "Modell ü"
    arguments = train_arguments(write_study(tmp_path / "study"), output, steps=LONG)
    job = JobReader(output / "training")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(launch, "-m", "brbs", *arguments)
        try:
            wait(lambda: (job.folder / "last.pt").is_file() or first.done())
            job.request_pause()
            wait(lambda: job.state == "paused" or first.done())
            told = len(job.events()[0])
            time.sleep(3)  # longer than between two reports
            assert (job.state, len(job.events()[0])) == ("paused", told), "both rest"
            job.resume()
            wait(lambda: len(job.events()[0]) > told or first.done())
        finally:
            job.request_stop()
        ended = first.result()
    assert (ended.returncode, job.state) == (0, "finished"), ended.stderr
    assert 0 < job.progress < 1
    checkpoint = torch.load(output / "training" / "last.pt", weights_only=True)
    step = checkpoint["progress"]["step"]
    assert len(checkpoint["learner"]["other_generators"]) == 1
    again = launch("-m", "brbs", "train", "--output", output, "--resume", "--device", "cpu", "--steps", str(step + 2))
    assert again.returncode == 0 and f"going on at step {step}" in again.stderr, again.stderr
    assert (job.state, job.progress) == ("finished", 1.0)


@pytest.mark.slow
def test_unusable_study_ends_all_processes_with_one_reason(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    for scan in (study / "unlabeled").iterdir():
        scan.write_bytes(b"no scan")
    ended = launch("-m", "brbs", *train_arguments(study, tmp_path / "model"))
    assert ended.returncode != 0
    assert "scan 100.nii.gz" in ended.stderr
    assert not (tmp_path / "model").exists()


def as_launched(arguments: list[str]) -> int:
    """What each of the two processes runs in these tests."""
    group = Group.launched()
    if len(arguments) == 1:
        with group.connected(torch.device("cpu")):
            torch.save(weights_by_step(learner(group)), Path(arguments[0]) / f"{group.rank}.pt")
        return 0
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and not group.first:
        plain = Learner.step

        def step(self: Learner, progress: float) -> dict[str, torch.Tensor]:
            if self.own_steps["segmentation"] + self.own_steps["registration"] >= int(os.environ["KILL_AT_STEP"]) - 1:
                os.kill(os.getpid(), 9)
            return plain(self, progress)

        Learner.step = step
    return main(arguments)


if __name__ == "__main__":
    leave(as_launched(sys.argv[1:]))
