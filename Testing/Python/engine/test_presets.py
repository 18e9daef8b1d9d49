"""Presets and what they promise."""

from __future__ import annotations

from brbs.settings import BALANCED, DEFAULT_PRESET, PAPER, PRESETS


def test_presets_rise_in_length_and_differ_from_the_publication() -> None:
    assert list(PRESETS) == ["fast", "balanced", "thorough", "paper"] and DEFAULT_PRESET == "balanced"
    assert [preset.steps for preset in PRESETS.values()] == [600, 3000, 12000, 40000]
    assert [preset.settings for preset in PRESETS.values()] == [BALANCED, BALANCED, BALANCED, PAPER]
    assert all(preset.about.endswith(".") for preset in PRESETS.values())
