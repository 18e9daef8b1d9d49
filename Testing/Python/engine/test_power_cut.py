"""What a power cut leaves: a broken last line, a half-written file aside, at worst a torn checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from brbs.files import write_json


def test_content_is_on_the_disk_before_the_name_is_given(tmp_path: Path, monkeypatch) -> None:
    done, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append(("content", os.fstat(number).st_size)))
    monkeypatch.setattr(os, "replace", lambda source, target: (done.append(("name", target)), replace(source, target)))
    write_json(tmp_path / "job.json", {"format": 1})
    path = tmp_path / "job.json"
    assert done == [("content", path.stat().st_size), ("name", path)]
