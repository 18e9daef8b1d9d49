"""The command line: the main job end to end, and interruptions."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from children import environment
from dicom_series import write_series
from tiny_study import SCHEMA, content, on_grid, run, subject, train_arguments, write_study

from brbs import grid as grid_module
from brbs import train_command
from brbs.__main__ import parser
from brbs.job import JobReader
from brbs.model import ModelBundle
from brbs.settings import Settings
from brbs.volumes import read_label_schema

ENGINE = Path(__file__).parents[3] / "BRBSTraining"


def description(output: Path) -> dict:
    return json.loads((output / "model.json").read_text(encoding="utf-8"))


# The main job


def test_training_writes_a_model_and_a_finished_job(model: Path) -> None:
    written = description(model)
    assert [(label["value"], label["name"]) for label in written["labels"]] == [(3, "Hülle"), (70, "Kern")]
    assert written["provenance"]["atlases"] == ["atlas 0", "atlas 1"] and written["provenance"]["step"] == 6
    assert written["channels"] == [8, 8, 16, 8, 8] and written["settings"]["segmentation_share"] == 0.3
    job = JobReader(model / "training")
    assert (job.state, job.progress) == ("finished", 1.0)
    assert {event["kind"] for event in job.events()[0]} == {"losses", "validation"}
    assert (model / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_is_segmented_onto_each_scan_s_own_grid(model: Path, study: Path, tmp_path: Path) -> None:
    scans = shutil.copytree(study / "unlabeled", tmp_path / "scans")
    odd = sitk.DICOMOrient(on_grid(subject(7)[0], (1.2, 1.0, 2.5)), "PIR")
    sitk.WriteImage(odd, str(scans / "anders.nrrd"))
    assert run(["segment", "--model", model, "--input", scans, "--output", tmp_path / "out", "--device", "cpu"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in scans.iterdir())
    for path in scans.iterdir():
        scan, labels = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "out" / path.name))
        assert labels.GetSize() == scan.GetSize()
        for name in ("GetOrigin", "GetSpacing", "GetDirection"):
            np.testing.assert_allclose(getattr(labels, name)(), getattr(scan, name)(), atol=1e-6)
        assert set(np.unique(sitk.GetArrayFromImage(labels))) <= {0, *SCHEMA.values}


@pytest.mark.parametrize("given", [".", "../Serie ä", "./"])
def test_a_folder_is_named_however_it_is_given(model: Path, tmp_path: Path, monkeypatch, given: str) -> None:
    write_series(tmp_path / "Serie ä", subject(4)[0])
    monkeypatch.chdir(tmp_path / "Serie ä")
    assert run(["segment", "--model", model, "--input", given, "--output", tmp_path / "out", "--device", "cpu"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Serie ä.nii.gz"]


def test_a_scan_becomes_segments_with_names_and_probabilities(model: Path, study: Path, tmp_path: Path) -> None:
    target = tmp_path / "neu" / "result.seg.nrrd"
    scan = study / "unlabeled" / "scan 100.nii.gz"
    assert run(["segment", "--model", model, "--input", scan, "--output", target, "--probabilities"]) == 0
    segments = read_label_schema(target)
    assert [(value, name) for value, name, _, _ in segments] == [(3, "Hülle"), (70, "Kern")]
    for found, label in zip(segments, SCHEMA.labels, strict=True):
        np.testing.assert_allclose(found[2], label.colour, atol=0.01)
    names = [f"result_probability_{name}.nii.gz" for name in ("0_background", "3_Hülle", "70_Kern")]
    assert sorted(path.name for path in target.parent.iterdir()) == sorted([target.name, *names])
    total = sum(sitk.GetArrayFromImage(sitk.ReadImage(str(target.parent / name))) for name in names)
    np.testing.assert_allclose(total, 1, atol=1e-3)


def pieces(path: Path) -> list[int]:
    """How many connected pieces each structure of a label map has."""
    labels = sitk.ReadImage(str(path))
    found = [sitk.ConnectedComponent(labels == value, True) for value in SCHEMA.values]
    return [int(sitk.GetArrayViewFromImage(image).max()) for image in found]


def test_stray_pieces_go_as_asked(model: Path, study: Path, tmp_path: Path) -> None:
    command = ["segment", "--model", model, "--input", study / "unlabeled" / "scan 100.nii.gz", "--output"]
    for components in ("largest", "all"):
        assert run([*command, tmp_path / f"{components}.nii.gz", "--components", components]) == 0
    assert max(pieces(tmp_path / "all.nii.gz")) > 1  # hardly trained
    assert max(pieces(tmp_path / "largest.nii.gz")) == 1


def test_one_bad_scan_of_a_folder_is_named_and_the_others_are_done(
    model: Path, study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scans = shutil.copytree(study / "unlabeled", tmp_path / "scans")
    (scans / "scan 101.nii.gz").write_bytes((scans / "scan 101.nii.gz").read_bytes()[:300])
    assert run(["segment", "--model", model, "--input", scans, "--output", tmp_path / "out"]) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scan 100.nii.gz", "scan 102.nii.gz"]
    assert "scan 101.nii.gz" in caplog.text and "1 failed of 3" in caplog.text


def test_evaluation_writes_a_report(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    labels = shutil.copytree(study / "labels", tmp_path / "prediction")
    arguments = ["evaluate", "--prediction", labels, "--reference", study / "labels", "--output", tmp_path / "report"]
    assert run([*arguments, "--images", study / "images"]) == 0
    assert "Kern" in capsys.readouterr().out
    assert {path.suffix for path in (tmp_path / "report").iterdir()} >= {".csv", ".json", ".png"}
    assert run(["evaluate", "--prediction", tmp_path / "none", "--reference", labels, "--output", tmp_path / "r"]) == 2


def test_a_study_folder_is_written_and_trained_from(study: Path, tmp_path: Path) -> None:
    assert run(train_arguments(study, tmp_path / "one", "--study", tmp_path / "kept", "--seed", 5, steps=1)) == 0
    assert (tmp_path / "kept/study.json").is_file()
    again = ["train", "--study", tmp_path / "kept", "--output", tmp_path / "two", "--steps", 1, "--learning-rate", 0.01]
    assert run(again) == 0
    settings = description(tmp_path / "two")["settings"]
    assert (settings["seed"], settings["learning_rate"], settings["channels"]) == (5, 0.01, [8, 8, 16, 8, 8])


def test_a_study_s_own_settings_stay_whatever_the_preset(study: Path, tmp_path: Path) -> None:
    made = ["--study", tmp_path / "kept", "--spacing", 1, 2, 2]
    assert run(train_arguments(study, tmp_path / "one", *made, steps=1)) == 0
    for preset, augmentation in (("fast", "full"), ("paper", "published")):
        arguments = ["--study", tmp_path / "kept", "--output", tmp_path / preset, "--preset", preset, "--steps", 1]
        assert run(["train", *arguments, *(["--channels", 8, 8, 8] if preset == "paper" else [])]) == 0
        settings = description(tmp_path / preset)["settings"]
        assert (settings["spacing"], settings["augmentation"]) == ([1, 2, 2], augmentation)


def test_a_longer_preset_makes_a_finished_training_longer(model: Path) -> None:
    arguments = parser().parse_args(["train", "--output", str(model), "--resume", "--preset", "thorough"])
    assert train_command._budget(arguments, model / "training")["steps"] == 12000


def test_validation_scans_are_used(study: Path, tmp_path: Path) -> None:
    others = write_study(tmp_path / "others")
    for path in others.glob("images/*"):  # the atlases' own would be refused
        path.write_bytes((study / "unlabeled/scan 100.nii.gz").read_bytes())
    folders = ["--validation-images", others / "images", "--validation-labels", others / "labels"]
    assert run(train_arguments(study, tmp_path / "model", *folders, steps=2)) == 0
    provenance = description(tmp_path / "model")["provenance"]
    assert provenance["validation"] == "annotated scans" and 1 <= provenance["best_step"] <= 2


def test_help_shows_every_setting_with_its_default(capsys: pytest.CaptureFixture) -> None:
    assert run(["--help"]) == 0
    assert "train" in capsys.readouterr().out
    assert run(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, item in Settings.__dataclass_fields__.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert " ".join(item.metadata["help"].split()) in shown
    assert f"(default: {Settings().learning_rate})" in shown and "--percentiles FLOAT FLOAT" in shown


def test_settings_of_every_kind_are_understood() -> None:
    options = ["--spacing", "1", "2", "0.5", "--window", "-100", "300.5", "--alignment", "affine", "--seed", "7"]
    parsed = parser().parse_args(["train", "--output", "m", *options, "--channels", "8", "16", "8"])
    assert (parsed.spacing, parsed.window, parsed.channels) == ([1.0, 2.0, 0.5], [-100.0, 300.5], [8, 16, 8])
    assert (parsed.alignment, parsed.seed, parsed.learning_rate, parsed.preset) == ("affine", 7, None, None)


# Interruptions, with real processes


def start(arguments: list[str]) -> subprocess.Popen:
    command, child = [sys.executable, "-m", "brbs", *arguments], environment(OMP_NUM_THREADS="1")
    return subprocess.Popen(command, env=child, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def wait_for_losses(job: JobReader, child: subprocess.Popen, offset: int = 0) -> int:
    """Waits until the child has told of losses; returns the offset of what comes after."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        events, offset = job.events(offset)
        if any(event["kind"] == "losses" for event in events) and (job.folder / "last.pt").is_file():
            return offset
        time.sleep(0.05)
    child.kill()
    pytest.fail(f"no losses told: {child.communicate()[1]}")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no Ctrl-C for one process alone")
def test_interrupted_then_killed_training_goes_on(study: Path, tmp_path: Path) -> None:
    output = tmp_path / "Modell"
    job = JobReader(output / "training")
    child = start(train_arguments(study, output, steps=100_000))
    offset = wait_for_losses(job, child)
    assert job.state == "running"
    child.send_signal(signal.SIGINT)
    told = child.communicate(timeout=60)[1]
    assert child.returncode == 130 and "--resume goes on" in told and "Traceback" not in told
    assert job.state == "finished" and 0 < job.progress < 1
    first = description(output)["provenance"]["step"]
    assert first >= 1

    child = start(["train", "--output", str(output), "--resume", "--device", "cpu"])
    wait_for_losses(job, child, offset=job.events(offset)[1])
    child.kill()
    told = child.communicate(timeout=60)[1]
    assert job.state == "failed" and f"going on at step {first}," in told
    kept = description(output)["provenance"]["step"]
    assert kept >= first and ModelBundle.load(output)  # whole, whether or not the kill came before it was renewed
    (output / "training" / ".partial-1-last.pt").write_bytes(b"left by the kill")

    assert run(["train", "--output", output, "--resume", "--device", "cpu", "--steps", kept + 4]) == 0
    assert description(output)["provenance"]["step"] == kept + 4 and job.state == "finished"
    assert not list(output.rglob(".partial-*"))


@pytest.fixture
def heard_ctrl_c():
    """Ctrl-C is heard also where the tests were started in the background, which Python then takes for "ignore"."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_the_scans_are_read_leaves_nothing(
    study: Path, tmp_path: Path, monkeypatch, capsys, heard_ctrl_c
) -> None:
    monkeypatch.setattr(grid_module.WorkingGrid, "place", lambda *_: signal.raise_signal(signal.SIGINT))
    assert run(train_arguments(study, tmp_path / "new" / "model")) == 130
    assert "interrupted" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_names_that_the_terminal_cannot_show_do_not_end_a_command() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with contextlib.redirect_stdout(stream):
        assert run(["--version"]) == 0
        print("Hülle", flush=True)
    assert stream.buffer.getvalue().split()[-1] == b"H?lle"


def test_stop_request_ends_well_and_a_running_training_is_not_disturbed(study: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    job = JobReader(output / "training")
    child = start(train_arguments(study, output, steps=100_000))
    wait_for_losses(job, child)
    for more in (["--overwrite"], ["--resume"]):
        assert run(train_arguments(study, output, *more)) == 2
    assert job.state == "running"
    job.request_stop()
    assert child.wait(timeout=60) == 0
    child.stderr.close()
    assert job.state == "finished" and job.message.startswith("stopped") and (output / "model.json").is_file()


def test_resuming_a_used_up_budget_says_so_and_a_larger_one_trains_on(
    study: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    assert run(["train", "--output", own, "--resume"]) == 0
    assert "give more --minutes or --steps" in caplog.text and description(own)["provenance"]["step"] == 6
    assert run(train_arguments(study, own, "--resume", steps=8)) == 0
    assert description(own)["provenance"]["step"] == 8
    before = content(own)
    assert run(["train", "--output", own, "--resume", "--learning-rate", 0.5]) == 2
    assert content(own) == before


def test_overwrite_starts_anew_and_leaves_foreign_files(study: Path, model: Path, tmp_path: Path) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    (own / "notes.txt").write_text("keep")
    (own / "training" / "stop.request").touch()  # of the training before
    assert run(train_arguments(study, own, "--overwrite", steps=2)) == 0
    assert description(own)["provenance"]["step"] == 2 and (own / "notes.txt").read_text() == "keep"
    assert max(event["step"] for event in JobReader(own / "training").events()[0]) == 2
    parts = [path.name.split("-")[0] for path in own.glob("*.safetensors")]
    assert sorted(parts) == ["atlases", "registration", "segmentation"]
