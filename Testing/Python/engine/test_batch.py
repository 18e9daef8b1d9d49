"""Many scans at once: what is finished stays and is not done again, what is bad stops nobody else."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import tiny_bundle
from tiny_study import on_grid, run, subject

from brbs.batch import Batch
from brbs.confidence import Confidence
from brbs.errors import InputError
from brbs.job import JobReader, JobWriter
from brbs.model_description import model_identity
from brbs.result_table import ResultTable, scan_identity
from brbs.segmentation_job import SegmentationJob, Segmenter
from brbs.volumes import read_label_map, read_label_schema

ENGINE = Path(__file__).resolve().parents[3] / "BRBSTraining"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model and three scans, of which one is truncated."""
    tiny_bundle().save(tmp_path / "Modell")
    (tmp_path / "scans").mkdir()
    for number in (1, 2, 3):
        sitk.WriteImage(on_grid(subject(number)[0]), str(tmp_path / f"scans/Käthe {number}.nii.gz"))
    broken = tmp_path / "scans/Käthe 2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:400])
    return tmp_path


def segment(folder: Path, *more, source: str = "--input") -> int:
    common = ["--model", folder / "Modell", "--output", folder / "out", "--device", "cpu"]
    return run(["segment", *common, *([source, folder / "scans"] if source == "--input" else []), *more])


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def mend(folder: Path, number: int = 2, seed: int = 2) -> None:
    sitk.WriteImage(on_grid(subject(seed)[0]), str(folder / f"scans/Käthe {number}.nii.gz"))


def test_table_tells_of_every_scan(folder: Path) -> None:
    assert segment(folder, "--table", folder / "results.csv", "--format", ".seg.nrrd") == 2
    rows = table(folder)
    assert [(row["scan"][-14:], row["state"]) for row in rows] == [
        ("Käthe 1.nii.gz", "finished"),
        ("Käthe 2.nii.gz", "failed"),
        ("Käthe 3.nii.gz", "finished"),
    ]
    assert "truncated" in rows[1]["message"] and not rows[1]["Kern volume (mL)"]
    for row in (rows[0], rows[2]):
        labels = read_label_map(Path(row["label map"]), allow_empty=True)
        voxels = sitk.GetArrayFromImage(labels)
        for value, name, _, _ in read_label_schema(Path(row["label map"])):
            expected = (voxels == value).sum() * 1.0 * 1.5 * 2.0 / 1000
            assert float(row[f"{name} volume (mL)"]) == pytest.approx(expected, abs=1e-6)
            assert 0 <= float(row[f"{name} confidence"]) <= 1
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["Käthe 1.seg.nrrd", "Käthe 3.seg.nrrd"]


def test_finished_scans_are_not_done_again(folder: Path, monkeypatch) -> None:
    options = ["--table", folder / "results.csv", "--skip-finished"]
    assert segment(folder, *options) == 2
    seen = []
    work = Segmenter.run
    monkeypatch.setattr(
        Segmenter, "run", lambda self, job, **more: seen.append(job.input.name) or work(self, job, **more)
    )
    mend(folder)
    assert segment(folder, *options) == 0
    assert seen == ["Käthe 2.nii.gz"]
    assert {row["state"] for row in table(folder)} == {"finished"}
    assert segment(folder, *options) == 0 and len(seen) == 1
    (folder / "out/Käthe 1.nii.gz").unlink()
    mend(folder, 3, seed=9)
    assert segment(folder, *options) == 0
    assert seen[1:] == ["Käthe 1.nii.gz", "Käthe 3.nii.gz"]
    tiny_bundle(seed=1).save(folder / "Modell")
    assert segment(folder, *options) == 0
    assert len(seen) == 6  # another model: all of them


def test_scans_finished_with_other_options_are_done_again(folder: Path) -> None:
    mend(folder)
    one = ["--pattern", "*1*", "--table", folder / "results.csv", "--skip-finished"]

    def written(*more: str) -> set[str]:
        """What a further run writes."""
        for path in (folder / "out").glob("*"):
            os.utime(path, (0, 0))
        assert segment(folder, *one, *more) == 0
        return {path.name for path in (folder / "out").iterdir() if path.stat().st_mtime > 0}

    label_map = {"Käthe 1.nii.gz"}
    images = {f"Käthe 1_probability_{name}.nii.gz" for name in ("0_background", "3_Hülle", "70_Kern")}
    assert written() == label_map and written("--components", "atlases") == set()
    assert written("--components", "largest") == label_map and written("--components", "largest") == set()
    assert written("--probabilities") == label_map | images and written("--probabilities") == set()


def test_a_folder_is_filtered_by_name(folder: Path, capsys) -> None:
    assert segment(folder, "--pattern", "KÄTHE 3*") == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["Käthe 3.nii.gz"]
    assert segment(folder, "--pattern", "*_T1*") == 2
    assert "no scans named *_T1* (3 of other names)" in capsys.readouterr().err


def test_listed_scans_of_one_name_stay_apart(folder: Path) -> None:
    for patient in ("Anna", "Berta"):
        (folder / patient).mkdir()
        shutil.copy(folder / "scans/Käthe 1.nii.gz", folder / patient / "T1.nii.gz")
    text = f"Anna/T1.nii.gz\n\n{folder / 'Berta/T1.nii.gz'}\nscans/Käthe 3.nii.gz\n"
    (folder / "scans.txt").write_text(text, encoding="utf-8")
    assert segment(folder, "--list", folder / "scans.txt", source="--list") == 0
    found = sorted(path.name for path in (folder / "out").iterdir())
    assert found == ["Anna T1.nii.gz", "Berta T1.nii.gz", "Käthe 3.nii.gz"]


def jobs(folder: Path, count: int = 3) -> list[SegmentationJob]:
    names = [f"Käthe {number}.nii.gz" for number in range(1, count + 1)]
    return [SegmentationJob(folder / "Modell", folder / "scans" / name, folder / "out" / name, "cpu") for name in names]


def test_watcher_sees_every_scan_come_and_go(folder: Path) -> None:
    assert segment(folder, "--job", folder / "job") == 2
    job = JobReader(folder / "job")
    told = [(Path(event["input"]).name[6], event["state"]) for event in job.events()[0]]
    assert told == [
        ("1", "running"),
        ("1", "finished"),
        ("2", "running"),
        ("2", "failed"),
        ("3", "running"),
        ("3", "finished"),
    ]
    finished = job.events()[0][1]
    assert set(finished["volumes"]) == set(finished["confidence"]) == {"Hülle", "Kern"}
    assert (job.state, job.progress, job.message) == ("finished", 1.0, "2 finished, 1 failed of 3 scans")


def test_stop_leaves_the_scan_at_work_as_it_was(folder: Path, monkeypatch) -> None:
    mend(folder)
    reader, work = JobReader(folder / "job"), Segmenter.run

    def stopped_at_the_second(self, job, check):
        if "2" in job.input.name:
            reader.request_stop()
        return work(self, job, check=check)

    monkeypatch.setattr(Segmenter, "run", stopped_at_the_second)
    assert segment(folder, "--job", folder / "job") == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["Käthe 1.nii.gz"]
    assert reader.events()[0][-1]["state"] == "waiting"
    assert (reader.state, reader.message) == ("finished", "stopped: 1 finished of 3 scans")
    assert reader.progress < 1


def test_stop_while_the_confidence_is_told_leaves_the_scan_to_the_next_run(folder: Path, monkeypatch) -> None:
    reader, told = JobReader(folder / "job"), Confidence.findings

    def stopped(self, *arguments):
        reader.request_stop()
        return told(self, *arguments)

    options = ["--table", folder / "results.csv", "--skip-finished", "--job", folder / "job"]
    with monkeypatch.context() as patch:
        patch.setattr(Confidence, "findings", stopped)
        assert segment(folder, *options) == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["Käthe 1.nii.gz"]
    assert reader.events()[0][-1]["state"] == "waiting" and not (folder / "results.csv").exists()
    mend(folder)
    assert segment(folder, *options) == 0
    assert {row["state"] for row in table(folder)} == {"finished"} and len(table(folder)) == 3


def test_an_error_in_the_engine_stops_nobody_else(folder: Path, monkeypatch) -> None:
    work = Segmenter.run

    def odd(self, job, check):
        if "1" in job.input.name:
            raise ValueError("odd\nvery odd")
        return work(self, job, check=check)

    monkeypatch.setattr(Segmenter, "run", odd)
    mend(folder)
    results = ResultTable(folder / "results.csv", ["Hülle", "Kern"])
    batch = Batch(jobs(folder), model_identity(folder / "Modell"), results)
    assert batch.run() and batch.counts == {"failed": 1, "finished": 2}
    assert table(folder)[0]["message"] == f"{folder / 'scans/Käthe 1.nii.gz'}: ValueError: odd"


def test_rows_of_other_scans_and_models_stay(folder: Path) -> None:
    results = ResultTable(folder / "results.csv", ["Leber"])
    results.put(folder / "früher.nrrd", folder / "früher.seg.nrrd", "finished", "", {"Leber": 1.5}, None, "m", "c")
    assert segment(folder, "--table", folder / "results.csv", "--pattern", "*1*") == 0
    first, second = table(folder)
    assert (first["Leber volume (mL)"], first["Kern volume (mL)"], second["Leber volume (mL)"]) == ("1.5", "", "")


def test_a_table_of_something_else_is_left_alone(folder: Path, capsys) -> None:
    (folder / "results.csv").write_text("patient,age\nAnna,7\n", encoding="utf-8")
    assert segment(folder, "--table", folder / "results.csv") == 2
    assert "is not a table of segmented scans" in capsys.readouterr().err
    assert (folder / "results.csv").read_text(encoding="utf-8") == "patient,age\nAnna,7\n"
    assert not (folder / "out").exists()


def test_a_table_that_cannot_be_written_is_told_before_the_first_scan(folder: Path, capsys) -> None:
    (folder / "results.csv").mkdir()
    (folder / "file").touch()
    for table in (folder / "results.csv", folder / "file/results.csv"):
        assert segment(folder, "--table", table) == 2
        assert str(table) in capsys.readouterr().err and not (folder / "out").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--skip-finished"], "--table"),
        (["--list", "none.txt"], "either --input or --list"),
        (["--format", ".png"], "cannot be written in this format"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder: Path, more: list[str], told: str, capsys) -> None:
    assert segment(folder, *more) == 2
    assert told in capsys.readouterr().err and not (folder / "out").exists()


def test_no_probability_is_taken_for_a_scan_by_the_next_run(folder: Path, capsys) -> None:
    before = sorted((folder / "scans").iterdir())
    among = ["--input", folder / "scans", "--output", folder / "scans", "--format", ".seg.nrrd", "--device", "cpu"]
    assert run(["segment", "--model", folder / "Modell", *among, "--probabilities"]) == 2
    told = capsys.readouterr().err
    assert f"{folder / 'scans'}: holds the scans" in told and "--probabilities" in told
    assert sorted((folder / "scans").iterdir()) == before
    mend(folder)
    for _ in range(2):
        assert run(["segment", "--model", folder / "Modell", *among]) == 0
    assert len(list((folder / "scans").iterdir())) == 2 * len(before)


def test_no_label_map_takes_the_place_of_a_scan(folder: Path, capsys) -> None:
    before = {path: path.read_bytes() for path in (folder / "scans").iterdir()}
    common = ["--model", folder / "Modell", "--output", folder / "scans", "--device", "cpu"]
    assert run(["segment", "--input", folder / "scans", *common]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (folder / "scans").iterdir()} == before


def test_identity_follows_the_content(folder: Path) -> None:
    scan = folder / "scans/Käthe 1.nii.gz"
    before = scan_identity(scan)
    os.utime(scan, (0, 0))
    assert scan_identity(scan) == before
    mend(folder, 1, seed=5)
    assert scan_identity(scan) != before
    with pytest.raises(InputError, match="none.nrrd: cannot be read"):
        scan_identity(folder / "none.nrrd")
    header = folder / "split.mhd"
    sitk.WriteImage(on_grid(subject(1)[0]), str(header))
    before = scan_identity(header)
    raw = bytearray((folder / "split.raw").read_bytes())
    raw[0] ^= 1
    (folder / "split.raw").write_bytes(raw)
    assert scan_identity(header) != before


def test_identity_is_that_of_the_files_that_the_header_names(folder: Path) -> None:
    (folder / "voxels").mkdir()
    header, voxels = folder / "Kopf [1].mhd", folder / "voxels/Kopf.raw"
    sitk.WriteImage(on_grid(subject(1)[0]), str(folder / "Kopf.mhd"))
    (folder / "Kopf.raw").rename(voxels)
    text = (folder / "Kopf.mhd").read_text().replace("Kopf.raw", "voxels/Kopf.raw")
    header.write_text(text)
    before = scan_identity(header)
    for beside in ("Kopf [1].seg.nrrd", "Kopf [1].raw", "Kopf 1.nii.gz"):  # as results are named
        (folder / beside).write_bytes(b"something else")
    assert scan_identity(header) == before
    voxels.write_bytes(voxels.read_bytes()[::-1])
    assert scan_identity(header) != before
    voxels.unlink()
    with pytest.raises(InputError, match="Kopf.raw: cannot be read"):
        scan_identity(header)


def test_identity_of_voxels_in_a_list_of_files(folder: Path) -> None:
    planes = subject(1)[0]
    header = "NRRD0004\ntype: float\ndimension: 3\nsizes: 16 20 16\nencoding: raw\nendian: little\ndata file: LIST 2\n"
    names = [f"{number}.raw" for number in range(len(planes))]
    (folder / "liste.nhdr").write_text(header + "\n".join(names) + "\n")
    for name, plane in zip(names, planes):
        (folder / name).write_bytes(plane.tobytes())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "liste.nhdr"))), planes)
    before = scan_identity(folder / "liste.nhdr")
    (folder / names[7]).write_bytes(planes[8].tobytes())
    assert scan_identity(folder / "liste.nhdr") != before


def test_a_killed_batch_goes_on_where_it_was(folder: Path) -> None:
    mend(folder)
    arguments = ["--model", folder / "Modell", "--input", folder / "scans", "--output", folder / "out"]
    options = ["--device", "cpu", "--table", folder / "results.csv", "--skip-finished", "--job", folder / "job"]
    command = [sys.executable, "-m", "brbs", "segment", *map(str, [*arguments, *options])]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    first, end = folder / "out/Käthe 1.nii.gz", time.monotonic() + 120
    while child.poll() is None and not first.exists() and time.monotonic() < end:
        time.sleep(0.001)
    child.kill()
    child.wait()
    assert first.exists()
    assert subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode == 0
    assert len(list((folder / "out").iterdir())) == 3
    assert [row["state"] for row in table(folder)] == ["finished"] * 3


@pytest.fixture
def in_the_way(folder: Path, monkeypatch) -> list[int]:
    """Numbers of the scans at which the table cannot be written: a folder has its name, which none can replace."""
    numbers, work = [], Segmenter.run

    def blocked(self, job, check):
        if (folder / "results.csv").is_dir():
            (folder / "results.csv").rmdir()
        if int(job.input.name[6]) in numbers:
            (folder / "results.csv").unlink(missing_ok=True)
            (folder / "results.csv").mkdir()
        return work(self, job, check=check)

    monkeypatch.setattr(Segmenter, "run", blocked)
    return numbers


def test_a_table_that_cannot_be_written_for_a_while_stops_nothing(folder: Path, in_the_way: list[int], caplog) -> None:
    mend(folder)
    in_the_way += [1, 2]
    assert segment(folder, "--table", folder / "results.csv", "--job", folder / "job") == 0
    assert [row["state"] for row in table(folder)] == ["finished"] * 3
    assert caplog.text.count("results.csv: cannot be written") == 2 and JobReader(folder / "job").state == "finished"


def test_a_table_that_cannot_be_written_at_last_is_told(folder: Path, in_the_way: list[int], capsys) -> None:
    mend(folder)
    in_the_way += [3]
    options = ["--table", folder / "results.csv", "--job", folder / "job", "--skip-finished"]
    assert segment(folder, *options) == 2
    told = capsys.readouterr().err
    assert f"{folder / 'results.csv'}: cannot be written" in told and "--skip-finished" in told
    job = JobReader(folder / "job")
    assert job.state == "failed" and "results.csv: cannot be written" in job.message
    assert len(list((folder / "out").iterdir())) == 3, "what is segmented stays"
    states = [event["state"] for event in job.events()[0]]
    assert states == ["running", "finished"] * 3
    in_the_way.clear()
    (folder / "results.csv").rmdir()
    assert segment(folder, *options) == 0 and len(table(folder)) == 3


def test_rows_that_wait_are_written_after_a_stop(folder: Path, in_the_way: list[int], monkeypatch) -> None:
    mend(folder)
    in_the_way += [1]
    results, put = ResultTable(folder / "results.csv", ["Kern"]), ResultTable.put
    reader = JobReader(folder / "job")

    def last(self, *arguments, **more):
        reader.request_stop()
        return put(self, *arguments, **more)

    monkeypatch.setattr(ResultTable, "put", last)
    with JobWriter(folder / "job") as watcher:
        assert not Batch(jobs(folder), "m", results, watcher=watcher).run()
    (folder / "results.csv").rmdir()
    results.catch_up()
    assert [row["state"] for row in table(folder)] == ["finished"]
