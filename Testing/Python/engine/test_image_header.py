"""Headers that no image can have: refused by the name of the field, and before memory is taken for their voxels."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from children import environment

from brbs import image_header
from brbs.errors import InputError
from brbs.volumes import read_image

NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image in all formats, as good.SUFFIX."""
    folder = tmp_path_factory.mktemp("good")
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((16, 16, 16), np.float32))
    for suffix in ("nii", "nrrd", "mha", "mhd", "nhdr"):
        sitk.WriteImage(image, str(folder / f"good.{suffix}"))
    sitk.WriteImage(image, str(folder / "packed.mha"), True)
    sitk.WriteImage(image, str(folder / "packed.nrrd"), True)
    return folder


@pytest.mark.parametrize("place, value, field", [
    (80, NAN, "pixdim"), (84, 0.0, "pixdim"), (268, INFINITE, "qform"), (256, NAN, "qform"),
    (280, NAN, "sform"), (292, INFINITE, "sform"),
])  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_nifti(good: Path, tmp_path: Path, place: int, value: float, field: str, packed: bool) -> None:
    content = bytearray((good / "good.nii").read_bytes())
    struct.pack_into("<f", content, place, value)
    path = tmp_path / ("Kopf ä.nii.gz" if packed else "Kopf ä.nii")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError, match=rf"Kopf ä\.nii.*: {field} in its header"):
        read_image(path)


@pytest.mark.parametrize("suffix, line, wrong", [
    ("mha", "Offset = 0 0 0", "Offset = nan 0 0"),
    ("mha", "Offset = 0 0 0", "Offset = x 0 0"),
    ("mha", "ElementSpacing = 1 1 1", "ElementSpacing = 1 0 1"),
    ("mhd", "ElementSpacing = 1 1 1", "ElementSpacing = 1 inf 1"),
    ("mha", "TransformMatrix = 1 0", "TransformMatrix = 1 nan"),
    ("nrrd", "space origin: (0,0,0)", "space origin: (0,nan,0)"),
    ("nrrd", "space origin: (0,0,0)", "space origin: (0,-inf,0)"),
    ("nhdr", "space directions: (1,0,0)", "space directions: (1,nan,0)"),
])  # fmt: skip
def test_readable_headers(good: Path, tmp_path: Path, suffix: str, line: str, wrong: str) -> None:
    path = replaced(good / f"good.{suffix}", tmp_path, line, wrong)
    with pytest.raises(InputError, match=f"{wrong.split(':')[0].split(' =')[0].lower()} in its header"):
        read_image(path)


SIZES = {"nrrd": "sizes: 16 16 16", "mha": "DimSize = 16 16 16"}
LARGE = [f"{kind}.{suffix}" for kind in ("good", "packed") for suffix in SIZES] + ["good.nhdr", "good.mhd"]


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("edges, told", [("1024 1024 1024", "damaged"), ("40000 40000 40000", "too many")])
def test_more_voxels_than_can_be(good: Path, tmp_path: Path, name: str, edges: str, told: str) -> None:
    line = SIZES["nrrd" if name.endswith(("nrrd", "nhdr")) else "mha"]
    path = replaced(good / name, tmp_path, line, line.replace("16 16 16", edges))
    with pytest.raises(InputError, match=rf"{path.name}: .*{told}"):
        read_image(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process's largest memory this way")
def test_memory_stays_free(good: Path, tmp_path: Path) -> None:
    """All of the files that lie about their size, in a process of its own."""
    paths = []
    for name in LARGE:
        line = SIZES["nrrd" if name.endswith(("nrrd", "nhdr")) else "mha"]
        paths.append(replaced(good / name, tmp_path, line, line.replace("16 16 16", "1024 1024 1024")))
    program = (
        "import sys; from peak_memory import peak_memory\n"
        "from brbs.errors import InputError; from brbs.volumes import read_image\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_image(path)\n"
        "    except InputError: print('refused')\n"
        "print(peak_memory())"
    )
    command, child = [sys.executable, "-c", program, *map(str, paths)], environment(Path(__file__).parent)
    done = subprocess.run(command, env=child, capture_output=True, text=True, timeout=100)
    *refused, peak = done.stdout.split()
    assert refused == ["refused"] * len(paths), done.stderr
    assert int(peak) < 2**30


@pytest.mark.parametrize("largest_unseen", [image_header.LARGEST_UNSEEN, 0])
def test_good_ones_are_read(good: Path, largest_unseen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_header, "LARGEST_UNSEEN", largest_unseen)
    for path in good.iterdir():
        if path.suffix not in (".raw", ".zraw"):
            assert read_image(path).GetSize() == (16, 16, 16)


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_packed_voxels_are_counted_before_memory_is_taken_for_many(
    good: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that tells of ten times the voxels that unpack, within what so many bytes could unpack to."""
    source = good / f"packed.{suffix}"
    path = replaced(source, tmp_path, SIZES[suffix], SIZES[suffix].replace("16 16 16", "16 16 160"))
    monkeypatch.setattr(image_header, "LARGEST_UNSEEN", 0)
    needed = 4 * 16**3
    assert image_header._unpacks_to(source, needed) and not image_header._unpacks_to(source, needed + 1)
    assert image_header._unpacks_to(path, needed) and not image_header._unpacks_to(path, 10 * needed)
    with pytest.raises(InputError, match="damaged"):
        read_image(path)


def test_what_others_add_to_a_nrrd_is_no_part_of_its_geometry(good: Path, tmp_path: Path) -> None:
    long = "x" * 5000
    added = f"spacings:=nan nan nan\nsizes:={long}\n# {long}\ncontent: {long}\na:b:=c: {long}\nkey:=value: {long}\n"
    path = replaced(good / "good.nrrd", tmp_path, "type: float", f"{added}type: float")
    assert read_image(path).GetSize() == (16, 16, 16)


def replaced(source: Path, folder: Path, line: str, wrong: str) -> Path:
    """A copy in which one line of the header is another; voxels that lie beside it come along."""
    content = source.read_bytes()
    assert line.encode() in content
    path = folder / source.name
    path.write_bytes(content.replace(line.encode(), wrong.encode(), 1))
    beside = source.with_suffix(".raw")
    if beside.exists():
        (folder / beside.name).write_bytes(beside.read_bytes())
    return path
