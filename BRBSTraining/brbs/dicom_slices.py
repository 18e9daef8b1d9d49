"""Which slices of a DICOM folder are read, and what ITK does not say of them: that a file ends too early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from .errors import InputError

_LONGEST_PREAMBLE = 4096  # bytes, within which a file tells how its voxels are packed
_TRANSFER_SYNTAX = b"\x02\x00\x10\x00UI"
_UNPACKED = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2")


def series_files(folder: Path) -> list[list[str]]:
    """Files of each DICOM series in a folder, in the order of their slices; the series with most slices is first."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    series = [list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), name)) for name in names]
    return sorted(series, key=len, reverse=True)


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
