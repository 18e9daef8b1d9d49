"""What ITK does not say of an image's header: numbers that no geometry has, and voxels that the file cannot hold."""

from __future__ import annotations

import gzip
import itertools
import math
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import SimpleITK as sitk

from .errors import InputError
from .image_files import check_name

MOST_NUMBERS = 2**31  # of a volume: 8 GiB as float32
MOST_DEFLATION = 1032  # times; zlib packs no tighter
_MOST_BYTES = {"gzip": MOST_DEFLATION, "gz": MOST_DEFLATION, "text": 4, "txt": 4, "ascii": 4}  # a byte of the file
_MHA_ENCODINGS = (("compresseddata", "true"), ("binarydata", "false"))  # packed, text
_LONGEST_LINE, _MOST_LINES = 2**20, 20_000
LONGEST_FIELD = 500  # letters; of longer ones, some end ITK's process
LARGEST_UNSEEN = 2**28  # bytes of voxels; whether a file holds more is found out before memory is taken for them
_PART = 2**20  # bytes that are unpacked at a time, or less
_GZIP_OR_ZLIB = 47  # zlib's window bits: as the bytes tell

# Magic number with its place; place and type of: sizes, spacings, codes of qform and sform, qform, sform.
_NIFTI = {
    348: ((344, b"n+1"), (40, "8h"), (76, "8f"), (252, "2h"), (256, "6f"), (280, "12f")),
    540: ((4, b"n+2"), (16, "8q"), (104, "8d"), (344, "2i"), (352, "6d"), (400, "12d")),
}
_SPACINGS = ("spacings", "elementspacing", "elementsize")
_PLACES = ("space origin", "space directions", "offset", "position", "origin")
_DIRECTIONS = ("transformmatrix", "rotation", "orientation")
_FILES = ("data file", "datafile", "elementdatafile")


def check_geometry(path: Path) -> None:
    """Refuses headers that ITK reads as another geometry, or as one of NaN, without a word.

    Raises:
        InputError: a field holds NaN, infinity, no number, a spacing of 0 or less, or more letters than any needs.
    """
    check_name(path)
    try:
        fields = _nifti_fields(path) if is_nifti(path) else _text_fields(path)
        for name, values, spacing in fields:
            if not all(map(math.isfinite, values)) or (spacing and min(values, default=1) <= 0):
                told = " ".join(f"{value:g}" for value in values)
                raise InputError(f"{path}: {name} in its header is {told}, which is no geometry; export it again")
    except (OSError, EOFError, zlib.error):
        return  # ITK says that it cannot be read


def check_size(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuses a header that promises more voxels than the file can hold, before memory is taken for them.

    Args:
        path: the file.
        reader: has read its header.

    Raises:
        InputError: the file is too short, or the volume larger than any that can be segmented.
    """
    count = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    if count > MOST_NUMBERS:
        size = " x ".join(map(str, reader.GetSize()))
        raise InputError(f"{path}: its header tells of {size} voxels, too many to be read; crop or resample it")
    if not is_nifti(path):
        needed = voxel_bytes(reader)
        unseen = LARGEST_UNSEEN if _is_nrrd(path) else 0  # ITK reads missing voxels of MetaImages as zeros
        if needed > _most_stored(path) or (needed > unseen and not _unpacks_to(path, needed)):
            raise InputError(f"{path}: is truncated or damaged, as its header tells of more voxels; copy it again")


def voxel_bytes(reader: sitk.ImageFileReader) -> int:
    """Bytes of all voxels that a header tells of, when they are not packed."""
    count = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    return count * sitk.Image([1] * 3, reader.GetPixelID()).GetSizeOfPixelComponent()


def is_nifti(path: Path) -> bool:
    """Whether a file's name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def open_nifti(path: Path) -> BinaryIO:
    """The content of a NIfTI file, unpacked where it is packed, whatever its name says.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if compressed else path.open("rb")


def _nifti_fields(path: Path) -> Iterator[tuple[str, Sequence[float], bool]]:
    """Names, values and whether it is a spacing, of those fields that ITK makes the geometry of."""
    with open_nifti(path) as stream:
        header = stream.read(max(_NIFTI))
    for order in "<>":
        length = struct.unpack(f"{order}i", header[:4].ljust(4, b"\0"))[0]
        if length in _NIFTI and len(header) >= length:
            (place, magic), *fields = _NIFTI[length]
            if header[place:].startswith(magic):
                size, spacing, codes, qform, sform = (
                    struct.unpack_from(order + kind, header, start) for start, kind in fields
                )
                axes = [axis for axis in (1, 2, 3) if size[axis] > 1]
                yield "pixdim", [spacing[axis] for axis in axes], True
                if codes[0] > 0:
                    yield "qform", qform, False
                if codes[1] > 0:
                    yield "sform", sform, False


def _text_fields(path: Path) -> Iterator[tuple[str, Sequence[float], bool]]:
    """As :func:`_nifti_fields`, of the formats whose headers are text."""
    header = _text_header(path)
    told = (name for name in header if name.isascii() and name.isprintable() and name != "content")
    for name in told if _is_nrrd(path) else (*_SPACINGS, *_PLACES, *_DIRECTIONS, *_FILES):
        if len(header.get(name, "")) > LONGEST_FIELD:
            raise InputError(f"{path}: {name[:40]} in its header is too long to be true; export it again")
    for name in (*_SPACINGS, *_PLACES, *_DIRECTIONS):
        values = [_number(word) for word in re.findall(r"[^\s(),]+", header.get(name, "")) if word != "none"]
        # NRRD gives axes that are not of space, such as layers', a spacing of NaN.
        if values and not (name == "spacings" and len(values) > 3):
            yield name, values, name in _SPACINGS


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _text_header(path: Path) -> dict[str, str]:
    """The fields of a NRRD or MetaImage header, names in lower case; not what others have added to a NRRD."""
    with path.open("rb") as stream:
        return _header_of(stream, _separator(path))


def _is_nrrd(path: Path) -> bool:
    return path.name.lower().endswith((".nrrd", ".nhdr"))


def _separator(path: Path) -> str:
    return ":" if _is_nrrd(path) else "="


def _header_of(stream: BinaryIO, separator: str) -> dict[str, str]:
    """The fields; the stream is then where voxels begin, if they follow."""
    header: dict[str, str] = {}
    for _ in range(_MOST_LINES):
        line = stream.readline(_LONGEST_LINE).decode("utf-8", "surrogateescape").strip()
        name, _, value = line.partition(separator)
        if not line:
            break
        if separator == ":" and _is_added(line):
            continue
        header[name.strip().lower()] = value.strip()
        if name.strip().lower() == "elementdatafile":
            break
    return header


def _is_added(line: str) -> bool:
    """Whether a line of a NRRD header is a comment, or "key:=value", and no "field: value"."""
    pair, field = line.find(":="), line.find(": ")
    return line.startswith("#") or 0 <= pair < (len(line) if field < 0 else field)


def _most_stored(path: Path) -> float:
    """Bytes of voxels that the file, or those that it names, can hold at most; devices and pipes count as empty."""
    header = _text_header(path)
    packed, text = (header.get(name, "").lower() == told for name, told in _MHA_ENCODINGS)
    encoding = header.get("encoding", "gzip" if packed else "text" if text else "raw").lower()
    stored = sum(file.stat().st_size for file in voxel_files(path) if file.is_file())
    return stored * _MOST_BYTES.get(encoding, 1)


def is_whole(path: Path, needed: int) -> bool:
    """Whether a NRRD or MetaImage holds so many bytes of voxels, and the end that packed ones have."""
    with path.open("rb") as stream:
        header = _header_of(stream, _separator(path))
        if not _is_packed(header):
            return path.stat().st_size - stream.tell() >= needed
        try:
            return sum(_unpacked(stream)) >= needed
        except (EOFError, zlib.error):
            return False


def _unpacks_to(path: Path, needed: int) -> bool:
    """Whether voxels that are packed into the file of the header, or into one beside it, are so many bytes."""
    header, files = _text_header(path), voxel_files(path)
    if not _is_packed(header) or len(files) != 1 or not files[0].is_file():
        return True  # each byte stands for one, or ITK takes memory file by file
    with files[0].open("rb") as stream:
        if files[0] == path:
            _header_of(stream, _separator(path))
        try:
            return any(found >= needed for found in itertools.accumulate(_unpacked(stream)))
        except (EOFError, zlib.error):
            return False


def _is_packed(header: dict[str, str]) -> bool:
    return header.get("encoding", "").lower() in ("gzip", "gz") or header.get("compresseddata", "").lower() == "true"


def _unpacked(stream: BinaryIO) -> Iterator[int]:
    """Bytes that unpack from the rest of a stream, part by part.

    Raises:
        EOFError: the stream ends before what is packed.
        zlib.error: it is damaged.
    """
    unpacked, chunk = zlib.decompressobj(wbits=_GZIP_OR_ZLIB), stream.read(_PART)
    while chunk:
        yield len(unpacked.decompress(chunk, _PART))
        chunk = unpacked.unconsumed_tail or stream.read(_PART)
        if unpacked.eof and (chunk := unpacked.unused_data + chunk):  # packed in several parts
            unpacked = zlib.decompressobj(wbits=_GZIP_OR_ZLIB)
    if not unpacked.eof:
        raise EOFError


def voxel_files(path: Path) -> list[Path]:
    """The files that hold an image's voxels, in one order always; they need not exist.

    Args:
        path: the image's file; a header names itself, another file, a list of files below it, or numbered ones.

    Raises:
        OSError: the file cannot be read.
    """
    if is_nifti(path):
        return [path]
    header = _text_header(path)
    named = next((header[name] for name in _FILES if name in header), "")
    if named in ("", "LOCAL", "LOCAL_FILE", "Local") or len(named) > LONGEST_FIELD:
        return [path]
    if named.split()[0] == "LIST":
        _, _, names = path.read_text(encoding="utf-8", errors="surrogateescape").partition(named)
        return [path.parent / line.strip() for line in names.splitlines() if line.strip()]
    if numbered := re.fullmatch(r"(.*)%\d*d(\S*)(?:\s+-?\d+){3,4}", named):
        first = path.parent / numbered[1]
        name = re.compile(re.escape(first.name) + r"-?\d+" + re.escape(numbered[2]))
        folder = first.parent if first.name else first
        return sorted(file for file in folder.iterdir() if name.fullmatch(file.name)) if folder.is_dir() else []
    return [path.parent / named]
