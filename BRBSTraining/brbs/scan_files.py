"""Which scans are to be segmented, and where their label maps go."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .errors import InputError
from .image_files import bare_name, check_writable_suffix, image_suffix, is_dicom_folder, list_images

ALL = "*"
SEGMENTATION_SUFFIX = ".seg.nrrd"


def folder_scans(folder: str | Path, pattern: str = ALL) -> list[Path]:
    """Scans of a folder in name order, files and folders with a DICOM series; .seg.nrrd files are none.

    Args:
        folder: where they lie.
        pattern: that their file names match, such as ``*_T1.nii.gz``; upper and lower case are the same.

    Raises:
        InputError: no such folder, or no such scan in it.
    """
    found = [path for path in list_images(folder) if image_suffix(path).lower() != SEGMENTATION_SUFFIX]
    scans = [path for path in found if fnmatch.fnmatch(path.name.lower(), pattern.lower())]
    if not scans:
        named = f" named {pattern} ({len(found)} of other names)" if found else ""
        raise InputError(f"{folder}: no scans{named} here")
    return scans


def listed_scans(path: str | Path) -> list[Path]:
    """Scans that a text file names, a path a line (UTF-8); relative ones lie beside the file.

    Raises:
        InputError: the file cannot be read, or names nothing.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason})") from error
    if any("\0" in line for line in lines):
        raise InputError(f"{path}: cannot be read (is not text)")
    scans = [path.parent / line.strip() for line in lines if line.strip()]
    if not scans:
        raise InputError(f"{path}: names no scans; give one path a line")
    return list(dict.fromkeys(scans))


def label_map_files(scans: Sequence[Path], output: str | Path, suffix: str | None = None) -> list[tuple[Path, Path]]:
    """Each scan with the file in a folder that its label map is written to.

    Scans of one name from different folders are told apart by their folders' names.

    Args:
        scans: files and DICOM folders.
        output: the folder.
        suffix: of the label maps; None: each scan's own, where it can be written.

    Raises:
        InputError: two scans would give one file, or a file is one of the scans; or a suffix that cannot be written.
    """
    output = Path(output)
    if image_suffix(output):
        raise InputError(f"{output}: is a file name, but there are several scans; give a folder")
    names = _distinct_names(scans)
    pairs = [
        (scan, output / f"{name}{check_writable_suffix(suffix) if suffix else own_suffix(scan)}")
        for scan, name in zip(scans, names, strict=True)
    ]
    check_not_scans(pairs)
    return pairs


def check_not_among_scans(pairs: Sequence[tuple[Path, Path]], probabilities: bool = False) -> None:
    """Refuses results in the folder of their scans, where they would be taken for scans; .seg.nrrd files are not.

    Args:
        pairs: scans and the files of their label maps.
        probabilities: images are written beside the label maps, too.

    Raises:
        InputError: names the folder.
    """
    for scan, target in pairs:
        if os.path.realpath(scan.parent) != os.path.realpath(target.parent):
            continue
        problem = f"{target.parent}: holds the scans, and"
        if probabilities:
            raise InputError(f"{problem} images of --probabilities would be taken for scans; choose another --output")
        if image_suffix(target).lower() != SEGMENTATION_SUFFIX:
            remedy = f"choose another --output, or --format {SEGMENTATION_SUFFIX}"
            raise InputError(f"{problem} label maps would be taken for scans; {remedy}")


def check_not_scans(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Refuses label maps that would be written over each other or over a scan.

    Raises:
        InputError: names the scan or file.
    """
    scans = {os.path.realpath(scan) for scan, _ in pairs}
    first: dict[str, Path] = {}
    for scan, target in pairs:
        resolved = os.path.realpath(target)
        if resolved in scans:
            raise InputError(f"{target}: is itself a scan and would be overwritten; choose another --output")
        if resolved in first:
            both = f"{first[resolved]} and {scan}"
            raise InputError(f"{both}: two scans would give the same label map {target}; give them different names")
        first[resolved] = scan


def own_suffix(scan: Path) -> str:
    """The scan's own suffix for its label map, .nii.gz where that cannot be written (DICOM)."""
    try:
        return check_writable_suffix(scan)
    except InputError:
        return ".nii.gz"


def is_folder_of_scans(path: Path) -> bool:
    """Whether a path is a folder of scans rather than a scan."""
    return path.is_dir() and not is_dicom_folder(path)


def _distinct_names(scans: Sequence[Path]) -> list[str]:
    """File names without suffix, preceded by folders' names where scans of several folders would be confused."""
    names = [bare_name(scan) for scan in scans]
    for depth in range(1, max((len(scan.parts) for scan in scans), default=1)):
        counts = Counter(name for name, _ in {(name.lower(), scan.parent) for name, scan in zip(names, scans)})
        again = [" ".join([*_folders(scan, depth), bare_name(scan)]) for scan in scans]
        longer = [new if counts[name.lower()] > 1 else name for name, new in zip(names, again, strict=True)]
        if longer == names:
            break
        names = longer
    return names


def _folders(scan: Path, depth: int) -> tuple[str, ...]:
    return tuple(part for part in scan.parts[-1 - depth : -1] if part not in (scan.anchor, ".", ".."))
