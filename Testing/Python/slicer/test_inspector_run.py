"""The logic's way to a generated sample: a child process and what it says when it cannot."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slicer
from tiny_inspection import write_sources
from waiting import wait

from brbs import inspector_files as files
from brbs.errors import InputError
from brbs.files import read_json
from BRBSTrainingLib.InspectorFigures import percent, rows, summary
from BRBSTrainingLib.InspectorRun import InspectorRequest, InspectorRun
from BRBSTrainingLib.InspectorScene import ATLAS, GENERATED
from BRBSTrainingLib.RowTable import GOOD, ODD


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    return write_sources(tmp_path_factory.mktemp("Prüfung eins"))


@pytest.fixture
def logic(application):
    import BRBSTraining

    return BRBSTraining.BRBSTrainingLogic()


def test_script_generates_and_slides(logic, sources) -> None:
    shown = logic.inspect(sources / "model", "atlas 0", sources / "style.nrrd", sources / "space.nrrd", device="cpu")
    shown.setAlpha(0.25)
    shown.setBeta(0.0)
    assert shown.find(GENERATED).GetParentTransformNode().GetTransformFromParent().GetDisplacementScale() == 0.25
    atlas, generated = (slicer.util.arrayFromVolume(shown.find(role)) for role in (ATLAS, GENERATED))
    assert np.array_equal(atlas, generated)
    shown.setBeta(1.0)
    assert not np.array_equal(atlas, generated)
    assert shown is logic.inspector and shown.sample.figures["lncc"]


def test_the_engine_s_own_words_tell_what_is_wrong(logic, sources) -> None:
    with pytest.raises(InputError, match="^nobody: is not an atlas of .*; there are: atlas 0, atlas 1$"):
        logic.inspect(sources / "model", "nobody", sources / "style.nrrd", sources / "space.nrrd")
    assert logic.inspector.sample is None


def test_files_are_kept_until_the_next_run_has_succeeded(logic, sources) -> None:
    run = InspectorRun(logic.engine)
    request = InspectorRequest(sources / "model", "atlas 0", sources / "style.nrrd", sources / "space.nrrd", samples=2)
    run.start(request)
    wait(run.poll)
    first = run.folder
    assert (first / files.SAMPLES).is_file() and len(read_json(first / files.FIGURES)["samples"]) == 2
    run.start(replace(request, atlas="nobody"))
    with pytest.raises(InputError, match="not an atlas"):
        wait(run.poll)
    assert run.folder == first and first.is_dir() and not run.busy
    run.close()
    assert run.folder is None and not first.exists()


def test_cancelled_run_leaves_nothing(logic, sources) -> None:
    run = InspectorRun(logic.engine)
    run.start(InspectorRequest(sources / "model", "atlas 0", sources / "style.nrrd", sources / "space.nrrd"))
    assert run.busy
    begun = time.monotonic()
    run.cancel()
    assert not run.busy and not run.poll() and run.folder is None
    assert time.monotonic() - begun < 2


def test_request_names_what_is_given() -> None:
    request = InspectorRequest(Path("m"), "a", Path("x"), Path("y"), Path("l"), Path("s"), True, "cpu", 0)
    expected = "-m brbs warp --model m --atlas a --style x --space y --space-labels l --study s --device cpu --output o"
    assert request.arguments(Path("o")) == [*expected.split(), "--checkpoint"]


def test_figures_in_words_and_rows() -> None:
    from inspector_folder import FIGURES

    figures = json.loads(json.dumps(FIGURES))
    text = summary(figures)
    assert "0.210, after registration 0.480" in text and "0.12 %" in text and "resampled from 64" in text
    assert [row.cells for row in rows(figures)] == [
        ("Hülle", "0.00 %", "0.51 → 0.83"),
        ("Kern", "0.40 %", "0.38 → 0.71"),
    ]
    figures["folded_fraction"]["whole"]["structures"] = {"Hülle": 0.2, "Kern": None}
    del figures["dice"], figures["notes"]
    assert [(row.cells[1:], row.mark) for row in rows(figures)] == [
        (("20.00 %", "–"), ODD),
        (("–", "–"), GOOD),
    ]
    assert percent(0.5) == "50.00 %"
