"""Whatever is wrong with a file: exit code 2, one message that names it, and nothing is written."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from bad_files import LABEL_MAPS, MODELS, SCANS
from tiny_study import content, on_grid, run, subject, train_arguments

from brbs.bundle_file import import_bundle
from brbs.errors import InputError
from brbs.image_files import image_suffix
from brbs.volumes import read_image, read_label_map

ENGINE = Path(__file__).resolve().parent


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the bad file is made; its name is one that people give."""
    folder = tmp_path / "Bilder von März"
    folder.mkdir()
    return folder


def refused(arguments: list, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("brbs: ") == 1 and str(path) in told and "Traceback" not in told, told
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", SCANS)
def test_scan_to_segment(name: str, model: Path, home: Path, tmp_path: Path, capsys) -> None:
    SCANS[name](home / name)
    output = tmp_path / "out.nii.gz"
    refused(["segment", "--model", model, "--input", home / name, "--output", output], home / name, tmp_path, capsys)


@pytest.mark.parametrize("name", ["a picture in truth.nii", "a picture in truth.mha", "text.mha", "zeros.nii"])
def test_libraries_add_nothing_to_the_message(name: str, model: Path, home: Path, tmp_path: Path, capfd) -> None:
    SCANS[name](home / name)
    assert run(["segment", "--model", model, "--input", home / name, "--output", tmp_path / "out.nii.gz"]) == 2
    told = capfd.readouterr()
    assert told.err.startswith("brbs: ") and told.err.count("\n") == 1 and not told.out


FILES = [name for name in SCANS if image_suffix(name) and "folder" not in name]
SOME = [*FILES[::6], "a pipe.nrrd"]  # always; the others, which segmenting has read the same way, when there is time


@pytest.mark.parametrize(
    "name", [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in FILES]
)
def test_scan_to_train_on(name: str, own_study: Path, tmp_path: Path, capsys) -> None:
    path = own_study / "unlabeled" / name
    SCANS[name](path)
    if path.exists():
        refused(train_arguments(own_study, tmp_path / "model"), path, tmp_path, capsys)


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_label_map_to_train_on(name: str, own_study: Path, tmp_path: Path, capsys) -> None:
    path = own_study / "labels" / f"more{image_suffix(name)}"
    LABEL_MAPS[name](path)
    shutil.copy(own_study / "images/atlas 0.nii.gz", own_study / "images/more.nii.gz")
    refused(train_arguments(own_study, tmp_path / "model"), path, tmp_path, capsys)


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_label_map_to_compare(name: str, home: Path, tmp_path: Path, capsys) -> None:
    folders = [tmp_path / "found", tmp_path / "true"]
    for folder in folders:
        folder.mkdir()
    path = folders[0] / f"case{image_suffix(name)}"
    LABEL_MAPS[name](path)
    sitk.WriteImage(on_grid(subject(0)[1]), str(folders[1] / "case.nii.gz"))
    report = ["--output", tmp_path / "report"]
    refused(["evaluate", "--prediction", folders[0], "--reference", folders[1], *report], path, tmp_path, capsys)


@pytest.mark.parametrize("name", MODELS)
def test_model_from_elsewhere(name: str, home: Path, tmp_path: Path, capsys) -> None:
    MODELS[name](home / name)
    (tmp_path / "models").mkdir()
    arguments = ["import-model", "--input", home / name, "--output", tmp_path / "models"]
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert (
        told.count("brbs: ") == 1 and str(home / name) in told and ".partial" not in told and "Traceback" not in told
    ), told
    assert not content(tmp_path / "models") and [path.name for path in home.iterdir()] == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process's largest memory this way")
def test_no_bad_file_takes_much_memory(home: Path) -> None:
    """All scans, label maps and models, in a process of its own."""
    paths = [str(ENGINE), str(ENGINE.parents[2] / "BRBSTraining")]
    program = f"import sys; sys.path[:0] = {paths!r}; import test_bad_files; test_bad_files.read_all(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, home], capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**30


def read_all(home: str) -> None:
    """Reads every bad file, and prints how much memory the process had at most."""
    from peak_memory import peak_memory

    models = Path(home, "models")
    kinds = (
        (read_image, SCANS),
        (read_label_map, LABEL_MAPS),
        (lambda path: import_bundle(path, models), MODELS),
    )
    for index, (read, bad) in enumerate(kinds):
        folder = Path(home, str(index))
        folder.mkdir()
        for name, make in bad.items():
            make(folder / name)
            with contextlib.suppress(InputError):
                read(folder / name)
    print(peak_memory())
