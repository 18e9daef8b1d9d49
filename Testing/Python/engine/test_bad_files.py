"""Whatever is wrong with a file: exit code 2, one message that names it, and nothing is written."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import SimpleITK as sitk
from bad_files import LABEL_MAPS, MODELS, SCANS, Make
from children import environment
from tiny_study import content, on_grid, run, subject, train_arguments

from brbs.bundle_file import import_bundle
from brbs.errors import InputError
from brbs.image_files import bare_name, image_suffix
from brbs.volumes import read_image, read_label_map

# Nothing at all, in a folder of scans.
NO_SCANS = sorted({"not there.nii.gz", "empty folder", "a folder.nii.gz", "a folder in itself"} & SCANS.keys())
LABELS = ["the same everywhere.nii.gz"]  # no scan, but a label map


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


@pytest.mark.parametrize("name", [name for name in SCANS if name not in NO_SCANS])
def test_scan_to_train_on(name: str, own_study: Path, tmp_path: Path, capsys) -> None:
    path = own_study / "unlabeled" / name
    SCANS[name](path)
    refused(train_arguments(own_study, tmp_path / "model"), path, tmp_path, capsys)


@pytest.mark.parametrize("name", NO_SCANS)
def test_folder_without_scans_to_train_on(name: str, own_study: Path, tmp_path: Path, capsys) -> None:
    folder = own_study / "unlabeled"
    shutil.rmtree(folder)
    folder.mkdir()
    SCANS[name](folder / name)
    refused(train_arguments(own_study, tmp_path / "model"), folder, tmp_path, capsys)


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_label_map_to_train_on(name: str, own_study: Path, tmp_path: Path, capsys) -> None:
    path = own_study / "labels" / f"more{image_suffix(name)}"
    LABEL_MAPS[name](path)
    shutil.copy(own_study / "images/atlas 0.nii.gz", own_study / "images/more.nii.gz")
    refused(train_arguments(own_study, tmp_path / "model"), path, tmp_path, capsys)


def compare(name: str, make: Make, part: str, tmp_path: Path, capsys) -> None:
    """A case of which one file is bad is refused."""
    folders = {each: tmp_path / each for each in ("prediction", "reference", "images")}
    for each, folder in folders.items():
        folder.mkdir()
        if each != part:
            sitk.WriteImage(on_grid(subject(0)[each != "images"]), str(folder / f"{bare_name(name)}.nii.gz"))
    make(folders[part] / name)
    given = [argument for each, folder in folders.items() for argument in (f"--{each}", folder)]
    path = folders[part] if name in NO_SCANS else folders[part] / name
    refused(["evaluate", *given, "--output", tmp_path / "report"], path, tmp_path, capsys)


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_label_map_to_compare(name: str, tmp_path: Path, capsys) -> None:
    compare(name, LABEL_MAPS[name], "prediction", tmp_path, capsys)


@pytest.mark.parametrize("name", [name for name in SCANS if name not in LABELS])
def test_reference_to_compare_with(name: str, tmp_path: Path, capsys) -> None:
    compare(name, SCANS[name], "reference", tmp_path, capsys)


@pytest.mark.parametrize("name", SCANS)
def test_scan_to_draw_a_comparison_on(name: str, tmp_path: Path, capsys) -> None:
    compare(name, SCANS[name], "images", tmp_path, capsys)


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


@pytest.fixture
def latin(home: Path) -> Path:
    """A scan whose name was written by a system that knew no UTF-8."""
    path = Path(os.fsdecode(os.fsencode(home) + b"/M\xfcller.nii.gz"))
    try:
        path.write_bytes(b"")
    except OSError as error:
        pytest.skip(f"this file system has no such names ({error.strerror})")
    aside = home / "aside.nii.gz"
    sitk.WriteImage(on_grid(subject(100)[0]), str(aside))
    aside.replace(path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="all names of Windows are letters")
def test_a_name_that_is_no_utf_8_asks_for_another(latin: Path, own_study: Path, model: Path, tmp_path: Path) -> None:
    shutil.copy(latin, own_study / "unlabeled")
    segment = [sys.executable, "-m", "brbs", "segment", "--model", model, "--output", tmp_path / "out"]
    commands = (
        [*segment, "--input", latin],
        [*segment, "--input", latin.parent],
        [sys.executable, "-m", "brbs", *train_arguments(own_study, tmp_path / "model")],
    )
    for command in commands:  # in a process of its own, as ITK ends it
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, encoding="utf-8", timeout=100)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "M?ller.nii.gz: its name, or that of a folder, is not in UTF-8; rename it" in done.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "model").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process's largest memory this way")
def test_no_bad_file_takes_much_memory(model: Path, home: Path) -> None:
    """All scans, label maps and models, and a batch of the scans, in a process of its own."""
    program = "import sys; import test_bad_files; test_bad_files.read_all(*sys.argv[1:])"
    command, child = [sys.executable, "-c", program, home, model], environment(Path(__file__).parent)
    done = subprocess.run(command, env=child, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process's largest memory this way")
@pytest.mark.parametrize("command", ["train_on", "segment", "compar", "elsewhere"])
def test_no_command_takes_much_memory(command: str) -> None:
    """The tests above of one command, in a process of their own."""
    program = "import pytest, peak_memory\n"
    program += f"code = pytest.main([{__file__!r}, '-q', '-k', '{command} and not memory'])\n"
    program += "print(f'{code:d} {peak_memory.peak_memory()}')"
    child = environment(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program], env=child, capture_output=True, text=True, timeout=600)
    code, peak = map(int, done.stdout.splitlines()[-1].split())
    assert code == 0, done.stdout
    assert peak < 2**30


def read_all(home: str, model: str) -> None:
    """Reads every bad file, begins to segment each scan, and prints how much memory the process had at most."""
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
    named = {bare_name(name): name for name in SCANS if "\n" not in name}.values()
    Path(home, "list.txt").write_text("".join(f"0/{name}\n" for name in named), encoding="utf-8")
    batch = ["--list", Path(home, "list.txt"), "--output", Path(home, "out"), "--table", Path(home, "table.csv")]
    with contextlib.redirect_stderr(io.StringIO()):
        assert run(["segment", "--model", model, *batch, "--device", "cpu"]) == 2
    with Path(home, "table.csv").open(encoding="utf-8-sig", newline="") as stream:
        states = Counter(row["state"] for row in csv.DictReader(stream))
    assert states == {"failed": len(named)}, states
    print(peak_memory())
