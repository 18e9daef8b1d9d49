"""Tests that want Slicer's libraries are skipped with the reason, or fail where everything is to be tested."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin import skipping


@pytest.fixture(params=["", "1"])
def outcome(request, monkeypatch: pytest.MonkeyPatch) -> type[BaseException]:
    """How such a test ends."""
    monkeypatch.setattr(skipping, "_install", lambda: "libGL is missing")
    monkeypatch.setenv(skipping.ALL_TESTS, request.param)
    return pytest.fail.Exception if request.param else pytest.skip.Exception


def test_a_file_of_tests(request, tmp_path: Path, outcome: type[BaseException]) -> None:
    (tmp_path / "test_panel.py").write_text("import qt", encoding="utf-8")
    module = skipping.moduleOrSkip(tmp_path / "test_panel.py", request.session)
    with pytest.raises(outcome, match="libGL is missing"):
        module.collect()


def test_a_single_test(outcome: type[BaseException]) -> None:
    with pytest.raises(outcome, match="libGL is missing"):
        skipping.skipWithoutSlicer()
