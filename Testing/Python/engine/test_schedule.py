"""The order of the phases and the course of the learning rate."""

from __future__ import annotations

import pytest

from brbs.schedule import RAMP_STEPS, learning_rate, phase
from brbs.settings import BALANCED, PAPER, Settings


def test_phases_follow_each_other() -> None:
    settings = Settings(segmentation_share=0.25, coarse_share=0.4, registration_share=0.25)
    found = [phase(progress, settings) for progress in (0, 0.09, 0.1, 0.24, 0.25, 0.49, 0.5, 1.0)]
    assert found == ["coarse"] * 2 + ["segmentation"] * 2 + ["registration"] * 2 + ["together"] * 2


def test_paper_teaches_both_networks_from_the_first_step_at_one_rate() -> None:
    assert phase(0.0, PAPER) == "together"
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
