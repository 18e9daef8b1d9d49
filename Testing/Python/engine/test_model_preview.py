"""The picture of a model."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from tiny_model import tiny_bundle
from tiny_study import SCHEMA

from brbs.model_preview import preview


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_bundle().save(tmp_path / "Modell ä")
    return tmp_path / "Modell ä"


def test_preview_shows_atlas_and_structures(model: Path) -> None:
    assert preview(model) == model / "preview.png"
    picture = imread(model / "preview.png")[..., :3]
    assert picture.shape == (256, 256, 3)
    for label in SCHEMA.labels:
        assert np.abs(picture - label.colour).max(-1).min() < 0.1, f"no outline of {label.name}"


def test_model_without_atlases_has_no_preview(tmp_path: Path, caplog) -> None:
    bundle = tiny_bundle()
    empty = {"atlas_images": bundle.atlas_images[:0], "atlas_labels": bundle.atlas_labels[:0]}
    tiny_bundle(**empty).save(tmp_path)
    assert preview(tmp_path) is None and not caplog.text and not (tmp_path / "preview.png").exists()


def test_preview_that_cannot_be_written_does_no_harm(model: Path, caplog) -> None:
    (model / "preview.png").mkdir()
    assert preview(model) is None and "cannot be written" in caplog.text


def test_model_without_atlas_file_does_no_harm(model: Path, caplog) -> None:
    next(model.glob("atlases-*")).unlink()
    assert preview(model) is None and "missing" in caplog.text


def test_without_matplotlib_there_is_no_preview(model: Path, monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert preview(model) is None and "no picture" in caplog.text
