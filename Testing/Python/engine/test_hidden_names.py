"""Logs that may be shown to others: what the engine prints with ``--hide-names`` tells what a file is, not its name."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from children import environment
from dicom_series import write_series
from launched import needs_processes
from tiny_model import tiny_bundle
from tiny_study import ORIGIN, SPACING, on_grid, subject, train_arguments, write_study

from brbs import hidden_names
from brbs.__main__ import parser
from brbs.hidden_names import call_folder, call_scans, hidden, hide_names
from brbs.study import Study
from brbs.worker_client import WorkerClient

PATIENT = "Mustermann"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_names, "_known", {})
    monkeypatch.setattr(hidden_names, "_lengths", set())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A study and scans that bear a patient's name, as their folder does: one as DICOM, one damaged."""
    home = write_study(tmp_path / f"Ordner von {PATIENT}", unlabeled=1)
    for folder in (home / "images", home / "labels"):
        for path in folder.iterdir():
            path.rename(folder / path.name.replace("atlas", f"{PATIENT} Kopf"))
    shutil.copy(home / f"images/{PATIENT} Kopf 0.nii.gz", home / "unlabeled" / f"{PATIENT} wieder.nii.gz")
    (home / "scans").mkdir()
    sitk.WriteImage(on_grid(subject(5)[0]), str(home / "scans" / f"{PATIENT}, Erika.nii.gz"))
    (home / "scans" / f"{PATIENT}, Otto.nii.gz").write_bytes(b"\x1f\x8bno scan")
    slices = write_series(home / "scans" / f"Serie {PATIENT}", subject(6)[0], SPACING, ORIGIN)
    slices[3].rename(slices[3].with_name(f"{PATIENT} Bild.dcm"))
    return home


@pytest.fixture
def model(home: Path) -> Path:
    tiny_bundle().save(home / "Modell")
    return home / "Modell"


def printed(*arguments: object, code: int = 0, **variables: str) -> str:
    """What a process of the engine prints without names."""
    command = [sys.executable, "-m", "brbs", "--hide-names", *map(str, arguments)]
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, encoding="utf-8", timeout=100
    )
    assert done.returncode == code, done.stderr
    return done.stderr + done.stdout


def assert_nameless(text: str, home: Path) -> None:
    for name in (PATIENT, str(home), str(home.parent), str(Path.home()) + "/", sys.prefix):
        assert name not in text, text


def test_training(home: Path) -> None:
    study = Study.from_folders(home / "images", home / "labels", home / "unlabeled", tiny_bundle().settings)
    study.unlabeled.append(study.atlases[1].image)
    study.save(home / "Studie")
    train = ["train", "--study", home / "Studie", "--output", home / "Modell", "--device", "cpu", "--steps", "2"]
    told = printed(*train)
    assert_nameless(told, home)
    assert "atlas 2: atlases that are unlabeled scans as well" in told
    assert "training on cpu" in told and told.rstrip().endswith("model: <output>")
    study.atlases[0].labels.unlink()
    told = printed(*train, "--overwrite", code=2)
    assert told == "brbs: labels of atlas 1: no such file; put it back, or take it out of the study\n"


def test_batch(home: Path, model: Path) -> None:
    torn = write_series(home / "scans" / f"Serie {PATIENT} Torso", subject(7)[0], SPACING, ORIGIN)
    torn[3].rename(torn[3].with_name(f"{PATIENT} Bild.dcm"))
    torn[3].with_name(f"{PATIENT} Bild.dcm").write_bytes(b"DICM".rjust(132, b"\0") + b"damaged")
    arguments = ["--model", model, "--input", home / "scans", "--output", home / "Ergebnisse", "--device", "cpu"]
    told = printed("segment", *arguments, "--table", home / f"{PATIENT}.csv", "--job", home / "Auftrag", code=2)
    assert_nameless(told, home)
    assert "scan 1 -> label map 1" in told and "scan 3 -> label map 3" in told
    assert "scan 2: " in told and "scan 4: is damaged" in told and "2 finished, 2 failed of 4 scans" in told


def test_lists_and_folders_that_are_not_there(home: Path, model: Path) -> None:
    (home / "Liste.txt").write_text(f"scans/{PATIENT}, Erika.nii.gz\n{home}/fehlt {PATIENT}.nrrd\n", encoding="utf-8")
    told = printed("segment", "--model", model, "--list", home / "Liste.txt", "--output", home / "mehr", code=2)
    assert_nameless(told, home)
    assert "scan 1 -> label map 1" in told and "scan 2: no such file" in told
    told = printed("segment", "--model", model, "--input", home / f"{PATIENT} nie", "--output", home / "out", code=2)
    assert_nameless(told, home)
    assert "<input>: no such" in told or "scan 1: no such" in told


def test_ranking(home: Path, model: Path) -> None:
    study = Study.from_folders(home / "images", home / "labels", home / "unlabeled", tiny_bundle().settings)
    study.unlabeled.append(home / "scans" / f"{PATIENT}, Otto.nii.gz")
    study.save(home / "Studie")
    told = printed("rank", "--model", model, "--study", home / "Studie", "--device", "cpu")
    assert_nameless(told, home)
    assert "unlabeled scan 1\t" in told and "unlabeled scan 3\tunlabeled scan 3: " in told
    assert "least confident first: <study>/ranking.json" in told.replace("\\", "/")


def test_unforeseen_errors(home: Path, model: Path) -> None:
    """A fault of the program prints the lines of code that led to it, whose folders name the user, and what it says."""
    broken = home / "broken"
    broken.mkdir()
    lines = "import brbs.worker, brbs.train_command, pathlib\n"
    lines += "def fail(*arguments, **_): raise ValueError(repr(list(arguments)))\n"
    lines += "brbs.train_command.prepare = fail\n"
    lines += "brbs.worker.Segmenter.run = lambda self, job, *_, **__: fail(job)\n"
    (broken / "sitecustomize.py").write_text(lines, encoding="utf-8")
    path = environment(broken)["PYTHONPATH"]
    told = printed(*train_arguments(home, home / "neu"), code=1, PYTHONPATH=path)
    assert_nameless(told, home)
    assert "Traceback" in told and "ValueError" in told and "<python>" in told and "atlas 1" in told
    arguments = ["--model", model, "--input", home / "scans", "--output", home / "Ergebnisse", "--device", "cpu"]
    told = printed("segment", *arguments, code=2, PYTHONPATH=path)
    assert_nameless(told, home)
    assert "Traceback" in told and "ValueError" in told and "scan 1" in told


@needs_processes
def test_launcher_of_several_processes(home: Path) -> None:
    """PyTorch's launcher tells by itself of a process that has died, by lines of code and the computer's name."""
    # Only once the first process has said that it trains, as the launcher ends it then.
    dies = """import os
if "RANK" in os.environ:
    from brbs.trainer import Trainer
    train = Trainer.run
    def run(self):
        self.group.broadcast(None)
        return train(self) if self.group.first else os.kill(os.getpid(), 9)
    Trainer.run = run
"""
    (home / "broken").mkdir()
    (home / "broken" / "sitecustomize.py").write_text(dies, encoding="utf-8")
    command = [sys.executable, "-m", "brbs.torchrun", "--standalone", "--nproc-per-node", "2", "-m", "brbs"]
    command += ["--hide-names", *train_arguments(home, home / "Modell")]
    variables = environment(home / "broken", OMP_NUM_THREADS="1")
    done = subprocess.run(command, env=variables, capture_output=True, text=True, encoding="utf-8", timeout=100)
    told = done.stdout + done.stderr
    assert done.returncode in (2, 128 + 9), "of the process that was noticed first"
    assert_nameless(told, home)
    assert platform.node() not in told and "Traceback" not in told
    assert "training on cpu" in told and "failed (exitcode: " in told


def test_worker(home: Path, model: Path) -> None:
    client = WorkerClient(home / "Arbeit")
    scan = home / "scans" / f"{PATIENT}, Otto.nii.gz"
    name = client.send(model, scan, home / "out.nrrd", device="cpu")
    told = printed("worker", "--folder", client.folder, "--idle-minutes", "0.02")
    assert_nameless(told, home)
    answer = client.answer(name)
    assert answer["state"] == "failed" and str(scan) in answer["message"], "people are told which"


def test_names_are_kept_without_the_option(home: Path, model: Path) -> None:
    command = [sys.executable, "-m", "brbs", "segment", "--model", model, "--input", home / "scans"]
    command += ["--output", home / "Ergebnisse", "--device", "cpu"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, encoding="utf-8", timeout=100)
    assert str(home / "scans" / f"{PATIENT}, Otto.nii.gz") in done.stderr


def test_a_scan_with_an_odd_header(home: Path) -> None:
    """ITK prints by itself what it thinks of one, with the file's name."""
    scan = home / "unlabeled" / f"{PATIENT} schief.nii"
    sitk.WriteImage(on_grid(subject(7)[0]), str(scan))
    header = bytearray(scan.read_bytes())
    (first,) = struct.unpack_from("<f", header, 280)
    struct.pack_into("<f", header, 280, first * 1.02)
    scan.write_bytes(header)
    told = printed(*train_arguments(home, home / "Modell", steps=1))
    assert_nameless(told, home)
    assert "training on cpu" in told and "scales" not in told


def test_a_lock_that_somebody_has_left_behind(home: Path) -> None:
    dead = {
        "user": "erika.klein",
        "host": platform.node(),
        "pid": 2**22 - 3,
        "started": 1e9,
        "job": "models/1/training",
    }
    (home / "Studie").mkdir()
    (home / "Studie" / "training.lock").write_text(json.dumps(dead), encoding="utf-8")
    told = printed(*train_arguments(home, home / "Modell", "--study", home / "Studie", steps=1))
    assert_nameless(told, home)
    assert "<study>: the training of somebody on a computer has ended without a word" in told


def test_check_and_comparison(home: Path, model: Path) -> None:
    study = Study.from_folders(home / "images", home / "labels", home / "unlabeled", tiny_bundle().settings)
    study.unlabeled.append(home / "scans" / f"{PATIENT}, Otto.nii.gz")
    study.save(home / "Studie")
    told = printed("check", "--study", home / "Studie", code=3)
    assert_nameless(told, home)
    assert "unlabeled scan 3: " in told
    wrong = ["--prediction", home / "scans", "--reference", home / "labels", "--output", home / "Bericht"]
    told = printed("evaluate", *wrong, code=2)
    assert_nameless(told, home)
    assert "<reference>: has no prediction; add one named <reference> to <prediction>" in told


def test_unpaired_names_and_damaged_lists(home: Path, model: Path) -> None:
    (home / "labels" / f"{PATIENT} Kopf 1.seg.nrrd").unlink()
    told = printed(*train_arguments(home, home / "neu", steps=1), code=2)
    assert_nameless(told, home)
    assert "<atlas-images>: has no label map" in told
    (home / "Studie").mkdir()
    scan = {"0": {"image": f"{home}/{PATIENT}.nii"}}
    study = {"format": 1, "atlases": scan, "unlabeled": [], "labels": [], "settings": {}}
    (home / "Studie/study.json").write_text(json.dumps(study), encoding="utf-8")
    told = printed("train", "--study", home / "Studie", "--output", home / "neu", code=2)
    assert_nameless(told, home)
    assert "is damaged" in told
    header = (
        f"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = {PATIENT}.raw\n"
    )
    (home / "eins.mhd").write_text(header, encoding="utf-8")
    (home / "Liste.txt").write_text("eins.mhd\n", encoding="utf-8")
    batch = ["--list", home / "Liste.txt", "--output", home / "mehr", "--table", home / "t.csv", "--device", "cpu"]
    told = printed("segment", "--model", model, *batch, code=2)
    assert_nameless(told, home)
    assert "1 failed of 1" in told


def test_relative_paths(home: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    told = printed("segment", "--model", "Modell", "--input", "scans", "--output", f"{PATIENT} neu", code=2)
    assert_nameless(told, home)
    assert "scan 1 -> label map 1" in told and "scan 2: " in told
    told = printed("train", "--study", f"{PATIENT} Studie", "--output", "neu", code=2)
    assert_nameless(told, home)
    assert told.startswith("brbs: <study>")


def test_every_option_that_takes_a_path_is_known() -> None:
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    private = ("train", "segment", "rank", "check", "evaluate", "worker")
    options = [action for name in private for action in commands.choices[name]._actions]
    paths = {action.dest for action in options if str(action.metavar).startswith(("DIR", "FILE", "MODEL"))}
    assert paths and paths <= hidden_names.ENGINES_OWN | hidden_names.SCANS


def test_longer_names_and_words_that_hold_a_name(tmp_path: Path) -> None:
    first, tenth = tmp_path / "scan 1", tmp_path / "scan 10.nii.gz"
    call_scans([first, tenth, tmp_path / "12.nrrd", tmp_path / "4711.nrrd"], "unlabeled scan")
    assert hidden(f"{tenth}: bad") == "unlabeled scan 2: bad"
    assert hidden(f"{first}: bad; {first} and {tenth}") == (
        "unlabeled scan 1: bad; unlabeled scan 1 and unlabeled scan 2"
    )
    assert hidden(f"{first / 'IM:1, Anna.dcm'}: bad") == "unlabeled scan 1: bad"
    assert hidden("scan 1_probability_2.nii.gz, .partial_scan 1") == (
        "unlabeled scan 1_probability_2.nii.gz, .partial_unlabeled scan 1"
    )
    assert hidden("scan 1, scan 10: kept; scans 1-10, step 12, 4711") == (
        "unlabeled scan 1, unlabeled scan 2: kept; scans 1-10, step 12, unlabeled scan 4"
    )
    assert hidden(f"{tmp_path / 'Anna.raw'}: bad") == "<folder of scans>: bad"
    call_folder(tmp_path, "study")
    assert hidden(f"{tmp_path / 'study.json'}: bad") == str(Path("<study>/study.json")) + ": bad"


def test_nothing_known_changes_nothing() -> None:
    assert hidden("step 5: /a/b c.nii.gz, Anna") == "step 5: /a/b c.nii.gz, Anna"


def test_streams_stay_streams(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    hide_names(argparse.Namespace(command="segment", input=str(tmp_path / "Anna.nrrd"), device="cpu"))
    print(f"{tmp_path / 'Anna.nrrd'}: bad", file=sys.stderr, flush=True)
    assert not sys.stderr.isatty() and sys.stdout.encoding
    assert capsys.readouterr().err == "<input>: bad\n"
