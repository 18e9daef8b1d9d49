"""The picture of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.image import imread
from tiny_study import SCHEMA, prepared_study

from brbs.model_preview import draw_preview


def test_preview_shows_atlas_and_structures(tmp_path: Path) -> None:
    draw_preview(prepared_study(), tmp_path / "Bild ä.png")
    picture = imread(tmp_path / "Bild ä.png")[..., :3]
    assert picture.shape == (256, 256, 3)
    for label in SCHEMA.labels:
        assert np.abs(picture - label.colour).max(-1).min() < 0.1, f"no outline of {label.name}"


def test_preview_that_cannot_be_written_does_no_harm(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").touch()
    draw_preview(prepared_study(), tmp_path / "file" / "preview.png")
    assert "cannot be written" in caplog.text
