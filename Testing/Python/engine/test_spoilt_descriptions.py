"""Descriptions that are JSON but not what they should be: told with their file, whatever the command."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_study import SCHEMA, SETTINGS, content, run

from brbs.errors import InputError
from brbs.job import JOB_FILE, JobReader
from brbs.locking import LOCK_FILE, lock_holder, study_lock
from brbs.preparation import Prepared
from brbs.process_exists import process_exists
from brbs.study import FILE_NAME, Study, with_dataset_names

NAN, INFINITE = float("nan"), float("inf")


def rewritten(path: Path, place: list, value: Any) -> Path:
    """Puts another value somewhere into a JSON file."""
    described = json.loads(path.read_text(encoding="utf-8"))
    inner = described
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(described), encoding="utf-8")
    return path


@pytest.fixture
def described_study(own_study: Path) -> Path:
    """A study with its study.json."""
    folders = (own_study / name for name in ("images", "labels", "unlabeled"))
    Study.from_folders(*folders, SETTINGS).save(own_study)
    return own_study


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((["unlabeled"], value) for value in ("scan.nii.gz", None, 5, {"a": 1}, [5], [None], [""], ["a\0b"], [["a"]])),
        *((["atlases"], value) for value in ("atlas", None, {}, ["a"], [{"image": 5, "labels": "a"}], [{}])),
        *((["validation"], value) for value in ("atlas", None, [[]])),
        *((["labels"], value) for value in (None, 3, ["Kern"], [{}])),
        *((["labels", 0, "value"], value) for value in ("3", 1.5, NAN, INFINITE, None, True, 10**30)),
        *((["labels", 0, "name"], value) for value in (5, None, ["a"])),
        *((["labels", 0, "colour"], value) for value in ([1, 2], "red", None, [NAN] * 3, ["1"] * 3)),
        *((["settings", "seed"], value) for value in ("1", 1.5, None, -1)),
        *((["settings", "learning_rate"], value) for value in (NAN, INFINITE, "fast")),
        (["settings"], [1]),
        (["format"], "1"),
    ],
)
def test_study(described_study: Path, tmp_path: Path, capsys, place: list, value: Any) -> None:
    path = rewritten(described_study / FILE_NAME, place, value)
    before = content(tmp_path)
    assert run(["check", "--study", described_study]) == 2
    told = capsys.readouterr().err
    assert told.count("brbs: ") == 1 and str(path) in told and content(tmp_path) == before


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((["heartbeat"], value) for value in ("now", NAN, None, [])),
        *((["pid"], value) for value in ("7", 1.5, NAN, None)),
        *((["progress"], value) for value in ("half", INFINITE)),
        (["state"], 5),
    ],
)
def test_job(model: Path, tmp_path: Path, capsys, place: list, value: Any) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    path = rewritten(folder / "training" / JOB_FILE, place, value)
    with pytest.raises(InputError, match="damaged"):
        _ = JobReader(path.parent).state
    assert run(["train", "--output", folder, "--resume"]) == 2 and str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((["steps"], value) for value in ("many", NAN, -1, True)),
        (["minutes"], [3]),
        *((["settings"], value) for value in (None, [1], "fast", {"seed": "x"}, {"speed": 1})),
    ],
)
def test_job_to_be_resumed(model: Path, tmp_path: Path, capsys, place: list, value: Any) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    path = rewritten(folder / "training" / JOB_FILE, place, value)
    assert run(["train", "--output", folder, "--resume"]) == 2
    told = capsys.readouterr().err
    assert told.count("brbs: ") == 1 and str(path) in told


@pytest.mark.parametrize("pid", [-1, 2**31, 10**30])
def test_no_process_has_such_a_number(pid: int) -> None:
    assert not process_exists(pid)


@pytest.mark.parametrize(
    "change",
    [*({"pid": pid} for pid in (NAN, -1, 10**30, 1.5, "1")), {"started": INFINITE}, {"job": "a\0b"}, {"user": 5}],
)
def test_lock_of_nobody_is_taken_over(tmp_path: Path, change: dict) -> None:
    lock = {"user": "anna", "host": "there", "pid": 1, "started": time.time(), "job": "models/001/training"} | change
    (tmp_path / LOCK_FILE).write_text(json.dumps(lock))
    long_ago = time.time() - 1000
    os.utime(tmp_path / LOCK_FILE, (long_ago, long_ago))
    assert lock_holder(tmp_path) is None
    with study_lock(tmp_path, tmp_path / "models/002/training"):
        assert lock_holder(tmp_path) is not None


def test_prepared_scans_of_a_damaged_file_are_refused(model: Path, tmp_path: Path) -> None:
    good = model / "training/prepared.npz"
    with np.load(good) as stored:
        arrays = dict(stored)
    described = json.loads(str(arrays["description"]))
    others = ({"grid": {}}, {"grid": 3}, {"schema": [{"value": "3"}]})
    bad = ([1], 5, {"format": 1}, *(described | other for other in others))
    for index, wrong in enumerate(bad):
        path = tmp_path / f"{index}.npz"
        np.savez(path, **arrays | {"description": np.array(json.dumps(wrong))})
        with pytest.raises(InputError, match=f"{index}.npz"):
            Prepared.load(path)
    whole = good.read_bytes()
    for length in range(0, len(whole), len(whole) // 20):
        (tmp_path / "torn.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match="torn.npz"):
            Prepared.load(tmp_path / "torn.npz")


DATASETS = ({"channel_names": 5}, {"modality": None}, {"labels": {"9" * 5000: "x", "a": []}})


@pytest.mark.parametrize("described", DATASETS)
def test_dataset_that_tells_nothing(own_study: Path, tmp_path: Path, described: dict, capsys) -> None:
    """Its names are not used, and nothing else is made of it."""
    (own_study / "dataset.json").write_text(json.dumps(described))
    assert with_dataset_names(SCHEMA, own_study / "labels") == SCHEMA
    assert run(["train", "--dataset", own_study, "--output", tmp_path / "model"]) == 2
    assert "labelsTr" in capsys.readouterr().err


def test_torn_study_is_told(described_study: Path, tmp_path: Path, capsys) -> None:
    path = described_study / FILE_NAME
    path.write_bytes(path.read_bytes()[:100])
    assert run(["train", "--study", described_study, "--output", tmp_path / "model"]) == 2
    assert str(path) in capsys.readouterr().err and not (tmp_path / "model").exists()
