"""A disk that is full: what was there stays whole, nothing half-written is left, and the message names the file."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from children import environment
from limits import no_file_longer_than
from tiny_model import tiny_bundle
from tiny_study import content, on_grid, run
from tiny_training import train

from brbs.bundle_file import export_bundle, import_bundle
from brbs.errors import InputError
from brbs.job import EVENTS_FILE, JobReader, JobWriter
from brbs.model import ModelBundle
from brbs.trainer import Budget
from brbs.volumes import write_image, write_label_map

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")


def test_checkpoint_before_stays_and_the_training_goes_on_when_there_is_room(tmp_path: Path) -> None:
    train(tmp_path, Budget(steps=2))
    before = {path.name for path in tmp_path.rglob("*")}
    checkpoint = (tmp_path / "training/last.pt").read_bytes()
    with no_file_longer_than(300_000), pytest.raises(InputError, match=r"last\.pt: cannot be written .*disk space"):
        train(tmp_path, Budget(steps=4), resume=True)
    assert {path.name for path in tmp_path.rglob("*")} == before
    assert (tmp_path / "training/last.pt").read_bytes() == checkpoint
    trainer, finished = train(tmp_path, Budget(steps=4), resume=True)
    assert finished and trainer.step == 4


def test_event_that_is_cut_off_costs_no_other(tmp_path: Path) -> None:
    with JobWriter(tmp_path) as job:
        job.event("losses", step=1, text="x" * 2000)
    path = tmp_path / EVENTS_FILE
    before = path.stat().st_size
    with pytest.raises(InputError, match=rf"{EVENTS_FILE}: cannot be written .*disk space"):
        with no_file_longer_than(before + 20), JobWriter(tmp_path) as job:
            job.event("losses", step=2)
    assert path.stat().st_size == before + 20, "else nothing was cut off"
    reader = JobReader(tmp_path)
    assert reader.state == "failed" and "disk space" in reader.message
    with JobWriter(tmp_path) as job:
        job.event("losses", step=3)
    assert [event["step"] for event in reader.events()[0]] == [1, 3]


def test_job_that_can_tell_nothing_ends_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"job\.json: cannot be written .*disk space"), JobWriter(tmp_path) as job:
        with no_file_longer_than(10):
            job.update(message="step 7")
    assert JobReader(tmp_path).state == "failed"
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_model_before_stays_when_the_new_one_does_not_fit(tmp_path: Path) -> None:
    tiny_bundle(seed=0).save(tmp_path)
    before = content(tmp_path)
    for length in (100, 100_000):  # the description, the weights
        with no_file_longer_than(length), pytest.raises(InputError, match="cannot be written .*disk space"):
            tiny_bundle(seed=1).save(tmp_path)
        assert before.items() <= content(tmp_path).items()
        ModelBundle.load(tmp_path)
        assert not list(tmp_path.glob(".partial-*"))


def test_exported_file_is_whole_or_not_there(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "Modell.zip"
    with no_file_longer_than(50_000), pytest.raises(InputError, match=r"Modell\.zip: cannot be written .*disk space"):
        export_bundle(model, target)
    assert not list(tmp_path.iterdir())


def test_imported_model_is_whole_or_not_there(model: Path, tmp_path: Path) -> None:
    export_bundle(model, tmp_path / "model.zip")
    (tmp_path / "models").mkdir()
    with no_file_longer_than(5000), pytest.raises(InputError, match="space|large"):
        import_bundle(tmp_path / "model.zip", tmp_path / "models")
    assert not content(tmp_path / "models")
    assert import_bundle(tmp_path / "model.zip", tmp_path / "models").name == "model"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_the_last_bytes_of_an_image_are_missed_too(tmp_path: Path, suffix: str) -> None:
    path, labels = tmp_path / f"labels{suffix}", np.random.default_rng(0).integers(0, 2, (30, 40, 50), np.uint8)
    write_label_map(on_grid(labels), path)
    length = path.stat().st_size
    write_label_map(on_grid(labels[:, :, :20]), path)
    earlier = path.read_bytes()
    for missing in (1, 2, 5, 50, 500, 3000):
        with no_file_longer_than(length - missing), pytest.raises(InputError, match="cannot be written"):
            write_label_map(on_grid(labels), path)
        assert path.read_bytes() == earlier and len(list(tmp_path.iterdir())) == 1


def test_voxels_that_are_not_packed_are_missed_too(tmp_path: Path) -> None:
    path, scan = tmp_path / "scan.nrrd", on_grid(np.random.default_rng(0).random((20, 20, 20), np.float32))
    write_image(scan, path, compress=False)
    whole = path.read_bytes()
    for missing in (1, 5, 3000):
        with no_file_longer_than(len(whole) - missing), pytest.raises(InputError, match="cannot be written"):
            write_image(scan, path, compress=False)
        assert path.read_bytes() == whole


@pytest.mark.parametrize("there", [False, True], ids=["new", "in place of an older one"])
def test_label_map_is_whole_or_not_there(study: Path, model: Path, tmp_path: Path, there: bool, capsys) -> None:
    scan, target = study / "unlabeled/scan 100.nii.gz", tmp_path / "labels.nii.gz"
    if there:
        shutil.copy(study / "unlabeled/scan 101.nii.gz", target)
    before = content(tmp_path)
    with no_file_longer_than(100):
        code = run(["segment", "--model", model, "--input", scan, "--output", target, "--device", "cpu"])
    assert code == 2
    assert f"{target}: cannot be written" in capsys.readouterr().err
    assert content(tmp_path) == before
    assert run(["segment", "--model", model, "--input", scan, "--output", target, "--device", "cpu"]) == 0
    assert sitk.ReadImage(str(target)).GetSize() == sitk.ReadImage(str(scan)).GetSize()


def on_a_disk_of(size: str, disk: Path, program: str) -> list[str | Path]:
    """A command that runs Python where a folder is a file system of its own, which ends with it."""
    mount = 'mount -t tmpfs -o size="$1" tmpfs "$2" && exec "$3" -c "$4" "$2"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", size, disk, sys.executable, program]


def test_all_of_it_on_a_small_disk(tmp_path: Path) -> None:
    """What the limits above stand for, on a file system that is really full."""
    tried = on_a_disk_of("1m", tmp_path, "")
    if shutil.which("unshare") is None or subprocess.run(tried, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    program = "import sys, test_disk_full; test_disk_full.fill_and_go_on(*sys.argv[1:])"
    command, child = on_a_disk_of("4m", tmp_path, program), environment(Path(__file__).parent)
    done = subprocess.run(command, env=child, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def fill_and_go_on(disk: str) -> None:
    """A training, a model, an export, a label map and an event find no room; when there is some again, all go on."""
    folder, filler = Path(disk, "model"), Path(disk, "filler")
    scan = on_grid(np.random.default_rng(0).random((20, 20, 20), np.float32))
    train(folder, Budget(steps=2))
    _fill(filler)
    before = content(Path(disk))
    attempts = {
        "last.pt": lambda: train(folder, Budget(steps=4), resume=True),
        r"segmentation-\w+\.safetensors": lambda: tiny_bundle(seed=1).save(folder),
        "model.zip": lambda: export_bundle(folder, Path(disk, "model.zip")),
        "labels.nrrd": lambda: write_image(scan, Path(disk, "labels.nrrd"), compress=False),
        EVENTS_FILE: lambda: JobWriter(folder / "training").event("losses", step=3, text="x" * 20_000),
    }
    for name, attempt in attempts.items():
        with pytest.raises(InputError, match=rf"{name}: cannot be written .*disk space"):
            attempt()
        left = content(Path(disk))
        changing = {"model/training/job.json", f"model/training/{EVENTS_FILE}"}
        assert left.keys() == before.keys(), name
        assert all(left[path] == before[path] for path in left.keys() - changing), name
    filler.unlink()
    assert train(folder, Budget(steps=4), resume=True)[0].step == 4
    ModelBundle.load(folder)


def _fill(path: Path) -> None:
    """Writes until the disk is full, but for some kilobytes."""
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        stream.truncate(max(0, stream.tell() - 16_384))
