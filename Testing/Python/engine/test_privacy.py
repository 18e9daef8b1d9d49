"""Of patients a training and a segmentation take voxels and geometry alone, and no byte leaves the computer.

Names of files are kept where the user looks for them (``job.json``, ``study.json``, the terminal, events of samples),
but not in what is given away, nor in logs (see ``test_hidden_names.py``). What DICOM tells of a patient is kept
nowhere.
"""

from __future__ import annotations

import ast
import gzip
import json
import logging
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import SimpleITK as sitk
from dicom_series import write_series
from tiny_study import OPTIONS, ORIGIN, SPACING, on_grid, run, subject

import brbs
from brbs.job import JobReader, queue_job

TAGS = {
    "0008|0050": "ACCESSION77134",
    "0008|0080": "Klinikum Musterstadt",
    "0008|0090": "Referring^Doctor",
    "0008|1010": "SCANNER-ROOM-9",
    "0008|103e": "T1 MPRAGE SAG Mustermann",
    "0010|0010": "Mustermann^Erika",
    "0010|0020": "PATIENTID4711",
    "0010|0030": "19561103",
    "0010|1040": "Musterweg 5",
    "0010|4000": "remark of the radiographer",
    "0020|000d": "1.2.826.0.1.3680043.8.498.90125",
    "0020|0010": "STUDYID31",
}
NETWORK_MODULES = {"ftplib", "http", "requests", "smtplib", "socket", "socketserver", "ssl", "urllib", "xmlrpc"}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of DICOM series, and one scan whose file header repeats what the series told."""
    folder = tmp_path_factory.mktemp("Station 7 Nord") / "study"
    for part, seed in (("images", 0), ("images", 1), ("unlabeled", 7)):
        image, labels = subject(seed)
        slices = write_series(folder / f"{part}/case {seed}", image, SPACING, ORIGIN, tags=TAGS)
        (folder / f"labels of {part}").mkdir(exist_ok=True)
        sitk.WriteImage(on_grid(labels), str(folder / f"labels of {part}/case {seed}.nii.gz"))
    told = on_grid(subject(8)[0])
    for key, value in TAGS.items():
        told.SetMetaData(key, value)
    sitk.WriteImage(told, str(folder / "unlabeled/case 8.nrrd"))
    assert all(b"Mustermann^Erika" in path.read_bytes() for path in slices)
    assert b"Mustermann^Erika" in (folder / "unlabeled/case 8.nrrd").read_bytes()
    return folder


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    """Whoever opens a connection or asks for an address fails."""

    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(f"the network was asked for: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto", "bind"):
            patch.setattr(socket.socket, name, refuse)
        for name in ("getaddrinfo", "gethostbyname", "create_connection"):
            patch.setattr(socket, name, refuse)
        yield


@contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Keeps in a file what the engine logs and prints meanwhile."""
    log = logging.getLogger("brbs")
    with path.open("w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        handler = logging.StreamHandler(file)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            yield
        finally:
            log.setLevel(logging.NOTSET)
            log.removeHandler(handler)


@pytest.fixture(scope="module")
def used(scans: Path, tmp_path_factory: pytest.TempPathFactory, no_network) -> Path:
    """Folder with a model trained on the scans, its exported file, segmentations by it, and all that was said."""
    folder = tmp_path_factory.mktemp("used")
    model, training = folder / "model", folder / "model/training"
    queue_job(training)
    JobReader(training).request_sample()
    parts = [("--atlas-images", "images"), ("--atlas-labels", "labels of images"), ("--unlabeled", "unlabeled")]
    folders = [text for option, part in parts for text in (option, scans / part)]
    train = ["train", *folders, "--study", folder / "kept", "--output", model, *OPTIONS, "--steps", "4"]
    segment = ["segment", "--model", model, "--input", scans / "unlabeled", "--output", folder / "results"]
    also = ["--probabilities", "--format", ".seg.nrrd", "--table", folder / "results.csv", "--job", folder / "batch"]
    evaluate = ["evaluate", "--prediction", folder / "results", "--reference", scans / "labels of unlabeled"]
    drawn = ["--images", scans / "unlabeled", "--output", folder / "report"]
    with recorded(folder / "said.txt"):
        assert run([*train, "--device", "cpu"]) == 0
        assert run(["export-model", "--model", model, "--output", folder / "model.zip"]) == 0
        assert run([*segment, *also, "--device", "cpu"]) == 0
        assert run([*evaluate, *drawn]) == 0
        assert run(["rank", "--model", model, "--study", folder / "kept", "--device", "cpu"]) == 0
    return folder


def everything(path: Path) -> bytes:
    """Content of a file, unpacked."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return b"\n".join(name.encode() + b"\n" + archive.read(name) for name in archive.namelist())
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def holds(content: bytes, text: str) -> bool:
    """Whether a text is there, in one or two bytes a letter."""
    return any(text.encode(coding) in content for coding in ("utf-8", "utf-16-le"))


def test_nothing_that_dicom_tells_is_kept(used: Path) -> None:
    files = [path for path in used.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"model.zip", "model.json", "prepared.npz", "last.pt", "events.jsonl", "case 7.seg.nrrd"} <= names
    assert any(path.parent.name == "sample" for path in files)
    words = [*TAGS.values(), "Mustermann"]
    found = [(path.name, word) for path in files for word in words if holds(everything(path), word)]
    assert found == []


def test_nothing_that_dicom_tells_is_said(scans: Path, used: Path, tmp_path: Path, capfd, caplog) -> None:
    said = (used / "said.txt").read_text(encoding="utf-8")
    for command in ("training on cpu", "model file: ", "case 7 -> ", "report: ", "least confident first: "):
        assert command in said
    caplog.set_level(logging.INFO, "brbs")
    target = tmp_path / "labels.nrrd"
    segment = ["segment", "--model", used / "model", "--input", scans / "unlabeled/case 7", "--output", target]
    assert run([*segment, "--device", "cpu"]) == 0
    assert "case 7 -> " in caplog.text
    said += "".join(capfd.readouterr()) + caplog.text
    assert not [word for word in [*TAGS.values(), "Mustermann"] if word in said]


def test_what_is_given_away_names_no_file(scans: Path, used: Path) -> None:
    content = everything(used / "model.zip")
    told = json.loads(zipfile.ZipFile(used / "model.zip").read("model.json"))
    assert told["provenance"]["atlas_count"] == 2 and "atlases" not in told["provenance"]
    for word in ("case 0", "case 7", "case 8", scans.parent.name, str(used), str(Path.home())):
        assert not holds(content, word)


def test_paths_are_kept_where_the_panel_looks_for_them_alone(scans: Path, used: Path) -> None:
    files = [path for path in (used / "model").rglob("*") if path.is_file()]
    told = {path.name for path in files if holds(everything(path), str(used)) or holds(everything(path), str(scans))}
    assert told == {"job.json"}


def test_nothing_is_imported_that_speaks_to_a_network() -> None:
    """Neither in the engine nor in the modules of Slicer."""
    imported, project = {}, Path(brbs.__file__).parents[2]
    for path in [*project.glob("BRBS*/*.py"), *project.glob("BRBS*/*/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            imported |= {name.partition(".")[0]: path.name for name in names}
    assert not NETWORK_MODULES & imported.keys(), imported
    assert {"torch", "slicer", "qt"} <= imported.keys()
