"""Which slices of a DICOM folder are read, and what ITK does not say of them: that a file ends too early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from .errors import InputError
from .image_files import check_name, is_dicom_file

_LONGEST_PREAMBLE = 4096  # bytes, within which a file tells how its voxels are packed
_TRANSFER_SYNTAX = b"\x02\x00\x10\x00UI"
_META_GROUP, _LONG_KINDS = b"\x02\x00", (b"OB", b"OW", b"UN", b"UT", b"SQ")
_SUFFIXES = ("", ".dcm", ".ima", ".dicom")
_UNPACKED = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2")


def series_files(folder: Path) -> list[list[str]]:
    """Files of each DICOM series in a folder, in the order of their slices; the series with most slices is first.

    Raises:
        InputError: names a file that GDCM would leave out without a word, or take gigabytes for.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    for path in (folder, *files):
        check_name(path)
    for path in filter(is_dicom_file, files):
        _check_meta(path)
    names = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    series = [list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), name)) for name in names]
    read = {Path(name).name for one in series for name in one}
    for path in files:
        if series and path.name not in read and _is_slice(path):
            raise InputError(f"{path}: is damaged and would be missing from the scan; copy it again, or remove it")
    return sorted(series, key=len, reverse=True)


def _is_slice(path: Path) -> bool:
    """Whether a file is, or was before it was damaged, one of DICOM other than a folder's index."""
    emptied = path.suffix.lower() in _SUFFIXES and path.stat().st_size == 0
    return path.name.upper() != "DICOMDIR" and (emptied or is_dicom_file(path))


def _check_meta(path: Path) -> None:
    """Refuses a file whose first group tells of more bytes than it has; GDCM takes memory for them."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(132)
        while (head := stream.read(8))[:2] == _META_GROUP and len(head) == 8:
            length = head[6:] if head[4:6] not in _LONG_KINDS else stream.read(4)
            stream.seek(int.from_bytes(length, "little"), 1)
            if stream.tell() > size:
                raise InputError(f"{path}: is truncated or damaged; copy or export the series again")


def check_slices(files: Sequence[str]) -> None:
    """Refuses a series with a file that is too short for the voxels that it tells of, before any are read.

    Args:
        files: of one series, so that all have the size of the first.

    Raises:
        InputError: names the file.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(files[0])
    reader.ReadImageInformation()
    bits = reader.GetMetaData("0028|0100") if reader.HasMetaDataKey("0028|0100") else "1"
    needed = math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * int(bits) // 8
    for file in map(Path, files):
        if file.stat().st_size < needed and _is_unpacked(file):
            raise InputError(f"{file}: is truncated or damaged; copy or export the series again")


def _is_unpacked(path: Path) -> bool:
    """Whether the voxels are stored as they are."""
    with path.open("rb") as stream:
        start = stream.read(_LONGEST_PREAMBLE)
    place = start.find(_TRANSFER_SYNTAX) + len(_TRANSFER_SYNTAX)
    length = int.from_bytes(start[place : place + 2], "little")
    return start[place + 2 : place + 2 + length].rstrip(b"\0 ") in _UNPACKED
