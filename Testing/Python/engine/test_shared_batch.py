"""A batch shared by several processes, as ``torchrun`` starts them: what comes out is as one process makes it."""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import SimpleITK as sitk
from launched import launch, needs_processes
from tiny_model import tiny_bundle
from tiny_study import content, on_grid, run, subject

from brbs import device
from brbs.__main__ import leave, main
from brbs.job import JobReader, JobWriter
from brbs.result_table import ResultTable, read_parts
from brbs.segmentation_job import Segmenter
from brbs.shared_batch import KeptEvents, Share, take_shares

SCANS = 4
BROKEN = 3
DIES = "BRBS_TEST_DIES"  # environment variable of the launched processes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model and four scans, of which the third is truncated."""
    tiny_bundle().save(tmp_path / "Modell")
    (tmp_path / "scans").mkdir()
    for number in range(1, SCANS + 1):
        sitk.WriteImage(on_grid(subject(number)[0]), str(tmp_path / f"scans/Käthe {number}.nii.gz"))
    broken = tmp_path / f"scans/Käthe {BROKEN}.nii.gz"
    broken.write_bytes(broken.read_bytes()[:400])
    return tmp_path


def arguments(folder: Path, output: str, *more: str) -> list[str]:
    common = ["--model", folder / "Modell", "--input", folder / "scans", "--output", folder / output / "maps"]
    told = ["--table", folder / output / "results.csv", "--job", folder / output / "job", "--device", "cpu"]
    return [str(part) for part in ["segment", *common, *told, *more]]


def rows(folder: Path, output: str) -> list[dict[str, str]]:
    with (folder / output / "results.csv").open(newline="", encoding="utf-8-sig") as stream:
        return [{**row, "label map": Path(row["label map"]).name} for row in csv.DictReader(stream)]


def events(folder: Path, output: str) -> list[tuple[str, str]]:
    return sorted((event["input"], event["state"]) for event in JobReader(folder / output / "job").events()[0])


@needs_processes
def test_two_processes_make_what_one_makes(folder: Path, one_thread, full_precision) -> None:
    ended = launch(Path(__file__), *arguments(folder, "shared", "--probabilities"))
    assert run(arguments(folder, "alone", "--probabilities")) == 2
    assert "exitcode  : 2" in ended.stderr, ended.stderr
    assert "3 finished, 1 failed of 4 scans" in ended.stderr
    own = os.path.join("brbs", "batch.py")
    assert own not in ended.stderr, "the launcher tells a traceback of its own, the engine none"
    maps = content(folder / "alone/maps")
    assert len(maps) == (SCANS - 1) * 4 and maps == content(folder / "shared/maps")
    assert rows(folder, "shared") == rows(folder, "alone")
    assert sorted(path.name for path in (folder / "shared").iterdir()) == ["job", "maps", "results.csv"]
    assert events(folder, "shared") == events(folder, "alone")
    job = JobReader(folder / "shared/job")
    assert (job.state, job.progress, job.message) == ("finished", 1.0, "3 finished, 1 failed of 4 scans")


@needs_processes
@pytest.mark.slow
@pytest.mark.parametrize("restarts", [0, 1])
def test_what_a_killed_process_has_left_is_done_by_the_next_start(
    folder: Path, restarts: int, one_thread, full_precision
) -> None:
    sitk.WriteImage(on_grid(subject(BROKEN)[0]), str(folder / f"scans/Käthe {BROKEN}.nii.gz"))
    ended = launch(Path(__file__), *arguments(folder, "shared"), restarts=restarts, **{DIES: "1"})
    assert (ended.returncode == 0) == (restarts == 1), ended.stderr
    if restarts == 0:
        assert (folder / "shared/results.csv.part1").is_file()
        assert run(arguments(folder, "shared", "--skip-finished")) == 0
    assert ended.stderr.count("Käthe 2.nii.gz -> ") == 1, "what was finished is not done again"
    assert run(arguments(folder, "alone")) == 0
    assert content(folder / "alone/maps") == content(folder / "shared/maps")
    assert rows(folder, "shared") == rows(folder, "alone")
    assert not read_parts(folder / "shared/results.csv")


def test_rows_of_all_processes_come_to_stand_in_the_order_of_the_scans(tmp_path: Path) -> None:
    path, scans = tmp_path / "results [1].csv", [tmp_path / f"{number}.nrrd" for number in range(4)]
    ResultTable(path, ["Kern"]).put(tmp_path / "earlier.nrrd", tmp_path / "e", "finished")
    first, second = ResultTable(path, ["Kern"]), ResultTable(path, ["Kern"], part=1)
    for table, numbers in ((second, (3, 1)), (first, (0, 2))):
        for number in numbers:
            table.put(scans[number], tmp_path / f"{number}", "finished", volumes={"Kern": number})
    assert len(read_parts(path)) == len(second.written) == 2
    first.take(read_parts(path), scans)
    told = [Path(row["scan"]).stem for row in ResultTable(path, ["Kern"]).written]
    assert told == ["earlier", "0", "1", "2", "3"]
    assert ResultTable(path, ["Kern"]).findings(scans[3])[0] == {"Kern": 3.0}
    assert not read_parts(path)


def test_events_of_other_processes_are_told_with_their_time(tmp_path: Path) -> None:
    other = KeptEvents(str(tmp_path))
    other.event("scan", input=Path("a.nrrd"), state="finished")
    assert not other.stop_requested
    JobReader(tmp_path).request_stop()
    assert other.stop_requested and not KeptEvents(None).stop_requested
    shares = [Share(True, Counter(finished=2)), Share(False, Counter(finished=1, failed=1), [], other.events)]
    with JobWriter(tmp_path) as watcher:
        whole = take_shares(shares, [], None, watcher)
    assert (whole.complete, whole.counts) == (False, Counter(finished=3, failed=1))
    told = JobReader(tmp_path).events()[0][-1]
    assert (told["input"], told["time"]) == ("a.nrrd", other.events[0]["time"])


def as_launched(arguments: list[str]) -> int:
    """What each of the two processes runs; where one is to be killed, the second dies at its second scan."""
    # Each process times by itself whether 16 bits are faster, and label maps differ by a voxel or two where one errs.
    device.reduced_precision = lambda _: None
    if DIES in os.environ and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and os.environ["RANK"] == "1":
        work, seen = Segmenter.run, []

        def fatal(self, job, **more):
            seen.append(job)
            if len(seen) == 2:
                os.kill(os.getpid(), 9)
            return work(self, job, **more)

        Segmenter.run = fatal
    return main(arguments)


if __name__ == "__main__":
    leave(as_launched(sys.argv[1:]))
