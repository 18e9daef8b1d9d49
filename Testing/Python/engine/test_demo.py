"""The demonstration from the first scan to the last figure, shortened to a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from brbs import demo
from brbs.errors import InputError
from brbs.synthetic import STRUCTURES


def test_all_that_is_promised_is_written(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(demo, "MINUTES", 0.05)
    monkeypatch.setattr(demo, "SIZE", (20, 24, 16))
    results = demo.run_demo(tmp_path / "Vorführung", "cpu")
    assert list(results) == [*STRUCTURES.values(), "mean"]
    for name in ("demo.png", "report/report.png", "report/cases.csv", "sample/contact_sheet.png", "model/model.json"):
        assert (tmp_path / "Vorführung" / name).is_file(), name
    assert len(list((tmp_path / "Vorführung" / "segmentations").iterdir())) == 10
    table = capsys.readouterr().out
    assert all(name in table for name in results)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="not an empty folder"):
        demo.run_demo(tmp_path, "cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
