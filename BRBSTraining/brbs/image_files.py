"""Images by their names: files with a suffix that is read or written, and folders of DICOM slices."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from .errors import InputError

IMAGE_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
WRITABLE_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
FIRST_CHANNEL = "_0000"  # nnU-Net's names of scans have it, those of label maps do not


def image_suffix(path: str | Path) -> str:
    """The image suffix of a file name as written ("" if it has none that is known)."""
    name = Path(path).name
    found = next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[len(name) - len(found) :]


def bare_name(path: str | Path) -> str:
    """File name without image suffix: ``scan 1.nii.gz`` and ``scan 1.seg.nrrd`` both give ``scan 1``."""
    name = Path(path).name
    return name[: len(name) - len(image_suffix(name))]


def pairing_name(path: str | Path) -> str:
    """Bare name by which scans and label maps are paired: a letter with its accent is one, however it is stored."""
    return unicodedata.normalize("NFC", bare_name(path))


def list_images(folder: str | Path) -> list[Path]:
    """Images of a folder in name order: files with a known suffix and sub-folders that hold a DICOM series.

    Hidden files are left out (archives made on macOS are full of ``._name.nii.gz``). A folder that holds nothing
    but the slices of a DICOM series is itself the one image.

    Raises:
        InputError: the folder is missing or is a file, or an image's name cannot be written down.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file, a folder was expected' if folder.exists() else 'no such folder'}")
    images = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (is_dicom_folder(path) if path.is_dir() else image_suffix(path))
    ]
    for path in images:
        check_name(path)
    return images or ([folder] if is_dicom_folder(folder) else [])


def check_name(path: Path) -> None:
    """Refuses a name whose bytes are no letters, as those of old disks may be: ITK aborts, tables cannot hold it.

    Raises:
        InputError: asks for another name.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "replace").decode("utf-8")
        raise InputError(f"{shown}: its name, or that of a folder, is not in UTF-8; rename it") from None


def is_dicom_folder(folder: str | Path) -> bool:
    """Whether DICOM files lie directly in the folder (looks at the first few files only)."""
    folder = Path(folder)
    if not folder.is_dir():
        return False
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return any(is_dicom_file(path) for path in files[:20])


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as one of DICOM does; one that cannot be read does not."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def check_writable_suffix(path: str | Path) -> str:
    """The lower-case image suffix of a file about to be written.

    Raises:
        InputError: none of ``WRITABLE_SUFFIXES``.
    """
    suffix = image_suffix(path).lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise InputError(f"{path}: cannot be written in this format; use one of {', '.join(WRITABLE_SUFFIXES)}")
    return suffix
