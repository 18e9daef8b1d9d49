"""The order of the phases and the course of the learning rate."""

from __future__ import annotations

import pytest

from brbs.schedule import RAMP_STEPS, learning_rate, phase, phase_shares
from brbs.settings import BALANCED, PAPER, PRESETS, Settings


def test_phases_follow_each_other() -> None:
    settings = Settings(segmentation_share=0.25, coarse_share=0.4, registration_share=0.25, atlas_steps=0)
    found = [phase(progress, 100, 0, settings) for progress in (0, 0.09, 0.1, 0.24, 0.25, 0.49, 0.5, 1.0)]
    assert found == ["coarse"] * 2 + ["segmentation"] * 2 + ["registration"] * 2 + ["together"] * 2


def test_coarse_volumes_are_left_when_they_have_no_more_to_give() -> None:
    assert [phase(0.05, steps, 0, BALANCED) for steps in (0, 499, 500)] == ["coarse", "coarse", "segmentation"]


def test_a_short_training_goes_back_to_the_atlases() -> None:
    assert [phase(0.6, steps, 0, BALANCED) for steps in (300, 1499, 1500)] == ["segmentation"] * 2 + ["together"]
    assert phase(0.5, 300, 0, BALANCED) == "registration"
    assert phase(0.84, 300, 0, BALANCED) == "segmentation" and phase(0.85, 300, 0, BALANCED) == "together"


def test_a_long_training_leaves_the_atlases_when_they_have_no_more_to_give() -> None:
    found = [phase(0.1, *steps, BALANCED) for steps in ((1999, 0), (2000, 0), (2000, 999), (2000, 1000), (9000, 3500))]
    assert found == ["segmentation"] + ["registration"] * 2 + ["together"] * 2
    alone = Settings(segmentation_share=1.0, registration_share=0.0)
    assert phase(0.9, 20_000, 0, alone) == "segmentation", "nothing else is to follow"


def test_a_long_training_without_a_phase_of_registration_alone_has_none() -> None:
    assert phase(0.1, 2000, 0, Settings(registration_share=0.0)) == "together"


@pytest.mark.parametrize(
    "settings",
    [
        BALANCED,
        PAPER,
        Settings(registration_share=0.0),
        Settings(segmentation_share=1.0, registration_share=0.0),
    ],
)
@pytest.mark.parametrize("steps", [200, PRESETS["fast"].steps, 2000, PRESETS["balanced"].steps, 12000, 40000])
def test_shares_are_those_of_the_phases_that_a_training_goes_through(steps: int, settings: Settings) -> None:
    counted, atlas_steps, registration_steps = [], 0, 0
    for step in range(steps):
        current = phase(step / steps, atlas_steps, registration_steps, settings)
        atlas_steps += current != "registration"
        registration_steps += current == "registration"
        counted.append(current)
    expected = phase_shares(steps, settings)
    for name in {*counted, *(name for name, _ in expected)}:
        share = sum(share for other, share in expected if other == name)
        assert counted.count(name) / steps == pytest.approx(share, abs=2 / steps), name


def test_paper_teaches_both_networks_from_the_first_step_at_one_rate() -> None:
    assert phase(0.0, 0, 0, PAPER) == "together"
    assert {learning_rate(progress, step, PAPER) for progress, step in ((0, 0), (0.5, 10), (1, 1000))} == {1e-4}


@pytest.mark.parametrize("settings", [BALANCED, Settings(segmentation_share=0.6, registration_share=0.4)])
def test_learning_rate_rises_once_and_never_again(settings: Settings) -> None:
    ramp = [learning_rate(0.0, step, settings) for step in range(RAMP_STEPS + 1)]
    assert 0 < ramp[0] < ramp[20] < ramp[-1] == pytest.approx(settings.learning_rate)
    course = [learning_rate(percent / 100, 10_000, settings) for percent in range(101)]
    assert course == sorted(course, reverse=True)
    assert course[0] == pytest.approx(settings.learning_rate)


def test_learning_rate_ends_low() -> None:
    assert learning_rate(1.0, 10_000, Settings()) == pytest.approx(Settings().final_learning_rate)
