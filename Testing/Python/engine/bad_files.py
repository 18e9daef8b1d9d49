"""Files and folders that are no good, each made by a function of the path that it is to be written to."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from dicom_series import write_series
from tiny_model import tiny_bundle
from tiny_study import SIZE, on_grid, subject

from brbs.bundle_file import export_bundle
from brbs.image_files import image_suffix

Make = Callable[[Path], None]

NAN = float("nan")
SIZES = " ".join(map(str, SIZE))


def stored(image: sitk.Image, path: Path) -> bytes:
    """The bytes of an image in the format of a path, which is not kept."""
    aside = path.with_name(f"aside{image_suffix(path) or path.suffix}")
    sitk.WriteImage(image, str(aside))
    content = aside.read_bytes()
    aside.unlink()
    return content


def image(change: Callable[[np.ndarray], np.ndarray] = lambda array: array, labels: bool = False) -> Make:
    """Writes a scan or label map of the tiny study with other voxels."""
    return lambda path: sitk.WriteImage(on_grid(change(subject(0)[labels])), str(path))


def changed(change: Callable[[bytes], bytes], labels: bool = False) -> Make:
    """Writes such a file with other bytes."""
    return lambda path: path.write_bytes(change(stored(on_grid(subject(0)[labels]), path)))


def packed(change: Callable[[bytes], bytes]) -> Make:
    """Writes a .nii.gz file whose content before packing has other bytes."""
    return lambda path: path.write_bytes(
        gzip.compress(change(stored(on_grid(subject(0)[0]), path.with_name("aside.nii"))))
    )


def patched(place: int, kind: str, *values: float) -> Callable[[bytes], bytes]:
    """Other numbers at a place of a binary header."""
    new = struct.pack("<" + kind, *values)
    return lambda content: content[:place] + new + content[place + len(new) :]


def line(old: str, new: str) -> Callable[[bytes], bytes]:
    """Another line in a readable header."""

    def change(content: bytes) -> bytes:
        assert old.encode() in content, old
        return content.replace(old.encode(), new.encode(), 1)

    return change


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """One voxel that has another value."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array[3, 3, 3] = value
        return array

    return change


def bytes_of(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def in_truth(suffix: str) -> Make:
    """Writes the bytes of another format under the path's name."""

    def make(path: Path) -> None:
        scan = sitk.Cast(on_grid(subject(0)[0]), sitk.sitkUInt16)
        path.write_bytes(stored(scan[:, :, 3:4] if suffix == ".dcm" else scan, path.with_name(f"a{suffix}")))

    return make


LARGE = "1024 1024 1500"  # 6 GB


def other_encoding(encoding: str, sizes: str = SIZES) -> Make:
    """Writes a header that tells of more voxels than follow."""
    header = f"NRRD0004\ntype: float\ndimension: 3\nsizes: {sizes}\nspacings: 1 1 1\nendian: little\n"
    return bytes_of(f"{header}encoding: {encoding}\n\n00 01 02 03\n".encode())


def elsewhere(named: str, sizes: str = LARGE) -> Make:
    """Writes a header whose voxels are in other files."""

    def make(path: Path) -> None:
        meta = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = {sizes}\nElementType = MET_FLOAT\n"
        nrrd = f"NRRD0004\ntype: float\ndimension: 3\nsizes: {sizes}\nencoding: raw\nendian: little\n"
        text = f"{nrrd}data file: {named}\n" if path.suffix == ".nhdr" else f"{meta}ElementDataFile = {named}\n"
        path.write_text(text, encoding="utf-8")

    return make


def loop(path: Path) -> None:
    os.symlink(path.name, path)


def folder_loop(path: Path) -> None:
    path.mkdir()
    os.symlink(path, path / "again", target_is_directory=True)


def without_directions(spacings: str) -> Callable[[bytes], bytes]:
    """A NRRD header whose axes have lengths alone."""

    def change(content: bytes) -> bytes:
        content = line("space directions: (1,0,0) (0,1.5,0) (0,0,2)", f"spacings: {spacings}")(content)
        return line("space origin: (5,-3,20)\n", "")(line("space: left-posterior-superior\n", "")(content))

    return change


def dicom(*shapes: tuple[int, int]) -> Make:
    """Writes a folder of slices of these sizes in one series."""

    def make(path: Path) -> None:
        write_series(path, [np.arange(np.prod(shape)).reshape(shape) for shape in shapes])

    return make


def torn_dicom(path: Path) -> None:
    dicom((8, 8), (8, 8), (8, 8))(path)
    for slice_ in path.iterdir():
        slice_.write_bytes(slice_.read_bytes()[:300])


def short_dicom(path: Path) -> None:
    """Writes a series whose files tell of more rows than they hold, a gigabyte each."""
    dicom((8, 8), (8, 8), (8, 8))(path)
    for slice_ in path.iterdir():
        content = slice_.read_bytes()
        for tag in (b"\x28\x00\x10\x00", b"\x28\x00\x11\x00"):  # rows, columns
            content = patched(content.index(tag) + 8, "H", 23_000)(content)
        slice_.write_bytes(content)


def one_other_slice(change: Callable[[bytes], bytes], first: bool = True) -> Make:
    """Writes a series whose first or last slice has other bytes."""

    def make(path: Path) -> None:
        slices = write_series(path, [np.arange(64).reshape(8, 8)] * 3)
        spoilt = slices[0 if first else -1]
        spoilt.write_bytes(change(spoilt.read_bytes()))

    return make


def of_three_gigabytes(content: bytes) -> bytes:
    """The file's version takes so many bytes, as it says."""
    place = content.index(b"\x02\x00\x01\x00OB") + 8
    return patched(place, "I", 3 * 2**30)(content)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


SCANS: dict[str, Make] = {
    "empty.nii": bytes_of(b""),
    "empty.nii.gz": bytes_of(b""),
    "empty.nrrd": bytes_of(b""),
    "empty.mha": bytes_of(b""),
    "text.nii.gz": bytes_of(b"This is no image.\n" * 30),
    "text.nrrd": bytes_of(b"This is no image.\n" * 30),
    "text.mha": bytes_of(b"This is no image.\n" * 30),
    "zeros.nii": bytes_of(bytes(4000)),
    "magic alone.nrrd": bytes_of(b"NRRD0004\n"),
    "half.nii": changed(half),
    "half.nii.gz": changed(half),
    "half.nrrd": changed(half),
    "half.mha": changed(half),
    "header alone.nii": changed(lambda content: content[:352]),
    "packed in part.nii.gz": changed(lambda content: content[:-9]),
    "rotten.nii.gz": changed(lambda content: content[:40] + bytes(60) + content[100:]),
    "nrrd in truth.nii": lambda path: path.write_bytes(stored(on_grid(subject(0)[0]), path.with_name("a.nrrd"))),
    "nifti in truth.nrrd": lambda path: path.write_bytes(stored(on_grid(subject(0)[0]), path.with_name("a.nii"))),
    "huge.nii": changed(patched(42, "3h", 32000, 32000, 32000)),
    "large.nii": changed(patched(42, "3h", 1024, 1024, 2000)),
    "huge.nii.gz": packed(patched(42, "3h", 32000, 32000, 32000)),
    "negative size.nii": changed(patched(42, "3h", -5, 20, 16)),
    "eight axes.nii": changed(patched(40, "h", 8)),
    "unknown type.nii": changed(patched(70, "h", 77)),
    "spacing NaN.nii": changed(patched(80, "f", NAN)),
    "spacing 0.nii.gz": packed(patched(84, "f", 0.0)),
    "sform NaN.nii": changed(patched(280, "f", NAN)),
    "sform infinite.nii.gz": packed(patched(292, "f", float("inf"))),
    "qform NaN.nii": changed(patched(256, "f", NAN)),
    "huge.nrrd": changed(line(f"sizes: {SIZES}", "sizes: 40000 40000 40000")),
    "large.nrrd": changed(line(f"sizes: {SIZES}", "sizes: 1024 1024 2000")),
    "negative size.nrrd": changed(line(f"sizes: {SIZES}", "sizes: -16 20 16")),
    "no sizes.nrrd": changed(line(f"sizes: {SIZES}\n", "")),
    "singular.nrrd": changed(line("(0,1.5,0)", "(1,0,0)")),
    "no direction.nrrd": changed(line("(0,1.5,0)", "(0,0,0)")),
    "direction NaN.nrrd": changed(line("(0,1.5,0)", "(0,nan,0)")),
    "origin NaN.nrrd": changed(line("space origin: (5", "space origin: (nan")),
    "unknown type.nrrd": changed(line("type: float", "type: quaternion")),
    "unknown encoding.nrrd": changed(line("encoding: raw", "encoding: rar")),
    "huge.mha": changed(line(f"DimSize = {SIZES}", "DimSize = 40000 40000 40000")),
    "large.mha": changed(line(f"DimSize = {SIZES}", "DimSize = 1024 1024 2000")),
    "negative size.mha": changed(line(f"DimSize = {SIZES}", "DimSize = -16 20 16")),
    "negative spacing.nii": changed(patched(80, "f", -1.0)),
    "negative spacing.nrrd": changed(without_directions("-1 1.5 2")),
    "negative spacing.mha": changed(line("ElementSpacing = 1 ", "ElementSpacing = -1 ")),
    "spacing 0.mha": changed(line("ElementSpacing = 1 ", "ElementSpacing = 0 ")),
    "origin NaN.mha": changed(line("Offset = 5", "Offset = nan")),
    "voxels too small.mha": changed(line("ElementSpacing = 1 ", "ElementSpacing = 1e-09 ")),
    "voxels too large.mha": changed(line("ElementSpacing = 1 ", "ElementSpacing = 1e9 ")),
    "far away.mha": changed(line("Offset = 5", "Offset = 1e300")),
    "micrometres.nrrd": lambda path: sitk.WriteImage(on_grid(subject(0)[0], (1000.0, 1500.0, 2000.0)), str(path)),
    "singular.mha": changed(line("TransformMatrix = 1 0 0 0 1 0", "TransformMatrix = 1 0 0 1 0 0")),
    "a picture in truth.nii": in_truth(".tif"),
    "a picture in truth.nii.gz": in_truth(".tif"),
    "a picture in truth.mha": in_truth(".tif"),
    "slice in truth.nrrd": in_truth(".dcm"),
    "numbers in letters.nrrd": other_encoding("ascii"),
    "large, in letters.nrrd": other_encoding("ascii", LARGE),
    "large, in pairs of letters.nrrd": other_encoding("hex", LARGE),
    "large, packed otherwise.nrrd": other_encoding("bzip2", LARGE),
    "large list.mha": elsewhere("LIST\ngone.raw"),
    "large list.nhdr": elsewhere("LIST\ngone.raw"),
    "large, in numbered files.mhd": elsewhere("gone%03d.raw 1 900 1"),
    "numbered to fill the memory.nhdr": elsewhere("gone%0999999999d.raw 1 900 1"),
    "voxels elsewhere.mhd": lambda path: path.write_text(
        f"ObjectType = Image\nNDims = 3\nDimSize = {SIZES}\nElementType = MET_FLOAT\nElementDataFile = gone.raw\n"
    ),
    "voxel NaN.nii.gz": image(with_value(NAN)),
    "voxel infinite.mha": image(with_value(float("inf"))),
    "voxel beyond all measures.mha": image(with_value(-3e38)),
    "the same everywhere.nii.gz": image(lambda array: array * 0 + 7),
    "one slice.nrrd": image(lambda array: array[5:6]),
    "colours.mha": lambda path: sitk.WriteImage(sitk.Compose(*[on_grid(subject(0)[0])] * 3), str(path)),
    "a film.nii.gz": lambda path: sitk.WriteImage(sitk.JoinSeries([on_grid(subject(0)[0])] * 2), str(path)),
    "not there.nii.gz": lambda path: None,
    "empty folder": lambda path: path.mkdir(),
    "a folder.nii.gz": lambda path: path.mkdir(),
    "slices of two sizes": dicom((8, 8), (8, 8), (6, 9)),
    "torn slices": torn_dicom,
    "slices with more rows": short_dicom,
    "one slice": dicom((8, 8)),
    "a slice cut short": one_other_slice(lambda content: content[:-2]),
    "a slice cut to its beginning": one_other_slice(lambda content: content[:200], first=False),
    "an emptied slice": one_other_slice(lambda content: b"", first=False),
    "a slice of gigabytes": one_other_slice(of_three_gigabytes),
    "a slice nowhere": one_other_slice(line("-10\\-20\\0", "-1[\\-20\\0")),
    "voxels in a file of a long name.nhdr": elsewhere("x" * 1000, SIZES),
    "voxels in many numbered files.mhd": elsewhere("%d" * 8000 + " 1 9 1", SIZES),
    "thick as nothing.nrrd": changed(line("type: float", f"thicknesses: {'1' * 100_000}\ntype: float")),
    "Größe 'x' & mehr ü.nii.gz": changed(half),
}
if os.name != "nt":
    SCANS |= {
        "zeros without end.mhd": elsewhere("/dev/zero"),
        "zeros without end.nhdr": elsewhere("/dev/zero"),
        "a pipe.nrrd": os.mkfifo,
        "a pipe.nii.gz": os.mkfifo,
    }
    SCANS |= {"itself.nii.gz": loop, "a folder in itself": folder_loop, 'a "quote"\nand a line.nii.gz': changed(half)}

LABEL_MAPS: dict[str, Make] = {
    "fractions.nii.gz": image(lambda array: array.astype(np.float32) + 0.5, labels=True),
    "NaN.nii.gz": image(with_value(NAN), labels=True),
    "beyond all numbers.nii.gz": image(with_value(1e30), labels=True),
    "half.seg.nrrd": changed(half, labels=True),
    "another grid.nii.gz": image(lambda array: array[:-2], labels=True),
    "colours.mha": lambda path: sitk.WriteImage(sitk.Compose(*[on_grid(subject(0)[1])] * 3), str(path)),
    "origin NaN.nrrd": changed(line("space origin: (5", "space origin: (nan"), labels=True),
    "large.nrrd": changed(line(f"sizes: {SIZES}", "sizes: 1024 1024 2000"), labels=True),
    "empty.seg.nrrd": bytes_of(b""),
}


def archive(change: Callable[[dict[str, bytes]], dict[str, bytes]], kind: int = zipfile.ZIP_DEFLATED) -> Make:
    """Writes a model file whose content has been changed."""

    def make(path: Path) -> None:
        folder = path.with_name("aside")
        tiny_bundle().save(folder)
        export_bundle(folder, path)
        shutil.rmtree(folder)
        with zipfile.ZipFile(path) as good:
            content = {name: good.read(name) for name in good.namelist()}
        with zipfile.ZipFile(path, "w", kind) as bad:
            for name, part in change(content).items():
                bad.writestr(name, part)

    return make


def described(**changes: object) -> Make:
    """Writes a model file whose description says something else."""
    return archive(
        lambda content: content | {"model.json": json.dumps(json.loads(content["model.json"]) | changes).encode()}
    )


def cut_archive(path: Path) -> None:
    archive(lambda content: content)(path)
    path.write_bytes(half(path.read_bytes()))


def weights(change: Callable[[bytes], bytes]) -> Make:
    """Writes a model file whose weights are other bytes."""
    return archive(
        lambda content: {name: change(part) if "segmentation" in name else part for name, part in content.items()}
    )


MODELS: dict[str, Make] = {
    "empty.zip": bytes_of(b""),
    "text.zip": bytes_of(b"This is no model.\n" * 30),
    "half.zip": cut_archive,
    "no description.zip": archive(lambda content: {n: part for n, part in content.items() if n != "model.json"}),
    "no weights.zip": archive(lambda content: {"model.json": content["model.json"]}),
    "half the weights.zip": weights(half),
    "header too long.zip": weights(lambda content: (2**62).to_bytes(8, "little") + content[8:]),
    "outside.zip": archive(lambda content: content | {"../outside.safetensors": b"x"}),
    "absolute.zip": archive(lambda content: content | {"/tmp/outside.safetensors": b"x"}),
    "a program.zip": archive(lambda content: content | {"run.py": b"print(1)"}),
    "a pickle.zip": archive(lambda content: content | {"weights.pt": b"\x80\x04."}),
    "twice.zip": archive(lambda content: content | {"MODEL.JSON": b"{}"}),
    "a bomb.zip": archive(lambda content: content | {"more.safetensors": bytes(10**8)}),
    "nesting.zip": archive(lambda content: content | {"model.json": b"[" * 100_000 + b"]" * 100_000}),
    "a newer format.zip": described(format=99),
    "widths.zip": described(channels=[10**12] * 5),
    "no structures.zip": described(labels=[]),
    "grid.zip": described(grid={"size": [10**6] * 3}),
    "names.zip": described(files={"segmentation": "../../x.safetensors"}),
}
