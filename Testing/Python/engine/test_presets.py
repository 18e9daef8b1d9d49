"""Presets and what they promise."""

from __future__ import annotations

from dataclasses import replace

from brbs.settings import BALANCED, DEFAULT_PRESET, PAPER, PRESETS, is_published, with_preset


def test_presets_rise_in_length_and_differ_from_the_publication() -> None:
    assert list(PRESETS) == ["fast", "balanced", "thorough", "paper"] and DEFAULT_PRESET == "balanced"
    assert [preset.steps for preset in PRESETS.values()] == [600, 3000, 12000, 40000]
    assert [preset.settings for preset in PRESETS.values()] == [BALANCED, BALANCED, BALANCED, PAPER]
    assert all(preset.about.endswith(".") for preset in PRESETS.values())


def test_what_was_changed_stays_when_only_the_length_is_chosen_anew() -> None:
    for family, names in ((BALANCED, ("fast", "balanced", "thorough")), (PAPER, ("paper",))):
        changed = replace(family, spacing=(1.0, 1.0, 2.0), learning_rate=3e-4, seed=5)
        assert all(with_preset(changed, name) == changed for name in names)


def test_a_changed_study_goes_to_the_publication_and_back() -> None:
    own = {"spacing": (1.0, 1.0, 2.0), "seed": 5}
    published = with_preset(replace(BALANCED, **own), "paper")
    assert published == replace(PAPER, **own) and is_published(published)
    assert with_preset(published, "fast") == replace(BALANCED, **own)


def test_single_settings_of_the_publication_do_not_make_a_study_published() -> None:
    assert not is_published(replace(BALANCED, augmentation="published", registration_scale=1))
    assert is_published(replace(PAPER, averaging=0.9, channels=(8, 16, 8)))
