"""A model in one file, to be given to a colleague: written without names of scans or people, read with distrust."""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

from .description_check import check_description
from .errors import InputError
from .files import FORBIDDEN, replacing
from .model_description import MODEL_FILE, read_description
from .model_preview import PREVIEW_FILE, preview
from .tensor_file import check_tensors

TENSORS = ".safetensors"
MOST_FILES = 20
MOST_EXPANSION = 200  # times the .zip file's own size
LARGEST_DESCRIPTION = 10 * 2**20  # bytes
LARGEST_PICTURE = 2 * 2**20
LARGEST_MODEL = 4 * 2**30
MOST_PIXELS = 1024  # of the picture, an axis

# All that an exported file says; whatever else a description holds may name scans, folders or people.
SHARED = ("format", "labels", "grid", "channels", "strides", "settings", "overview", "files")
SHARED_PROVENANCE = (
    *("unlabeled_count", "step", "best_step", "training_minutes"),
    *("validation", "dice", "device", "date", "versions", "atlas_count", "registration_steps"),
)

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


def export_bundle(folder: str | Path, path: str | Path) -> None:
    """Writes a model's description, weights and, if there is one, picture to a .zip file.

    Of where it comes from, names of scans, files and folders are left out, as they may be patients' names; the number
    of atlases stays. The atlases' images and labels go along, without names: the model registers scans to them. Where
    it works on a part of the scans, the first atlas goes along whole, in coarse voxels.

    Raises:
        InputError: no model there, it is damaged, or the file cannot be written or is one of the model's.
    """
    folder = Path(folder)
    check_bundle(folder)
    if Path(path).exists() and Path(path).resolve().parent == folder.resolve():
        raise InputError(f"{path}: is a file of the model itself and would be overwritten; choose another --output")
    description = read_description(folder)
    provenance = description.get("provenance", {})
    kept = {key: provenance[key] for key in SHARED_PROVENANCE if key in provenance}
    if "atlases" in provenance:
        kept["atlas_count"] = len(provenance["atlases"])
    shared = {key: description[key] for key in SHARED if key in description} | {"provenance": kept}
    with replacing(path) as aside, _new_archive(aside) as archive:
        archive.writestr(MODEL_FILE, json.dumps(shared, indent=1, ensure_ascii=False))
        for name in _named_files(description, folder):
            archive.write(folder / name, name)
        if _is_picture(folder / PREVIEW_FILE):
            archive.write(folder / PREVIEW_FILE, PREVIEW_FILE)


def import_bundle(path: str | Path, home: str | Path) -> Path:
    """Unpacks a file that :func:`export_bundle` wrote; draws the model's picture if the file holds none.

    Args:
        path: the .zip file.
        home: folder for models; the model becomes a folder in it, named like the file, with a number if that exists.

    Returns:
        The model's folder.

    Raises:
        InputError: the file is damaged, no model, too large, or holds anything that a model does not; nothing is
            left behind then.
    """
    path, home = Path(path), Path(home)
    with _opened(path) as archive:
        entries = _checked_entries(archive, path)
        try:
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=home) as aside:
                for entry in entries:
                    _unpack(archive, entry, Path(aside) / entry.filename, path)
                _check_unpacked(Path(aside), path)
                target = _unused(home, path.stem)
                target.mkdir()
                # The description goes last: without it there is no model.
                for name in sorted((entry.filename for entry in entries), key=lambda name: name == MODEL_FILE):
                    (Path(aside) / name).rename(target / name)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{home}: cannot be written ({reason}); check the free disk space") from error
    if not (target / PREVIEW_FILE).exists():
        preview(target)
    return target


def check_bundle(folder: str | Path) -> None:
    """Checks a model's folder without loading it.

    Raises:
        InputError: description missing, damaged or of a newer version; weights missing, or not what their header says.
    """
    folder = Path(folder)
    path = folder / MODEL_FILE
    if path.is_file() and path.stat().st_size > LARGEST_DESCRIPTION:
        raise InputError(f"{path}: is far too long for a model's description; get the model again")
    description = read_description(folder)
    for name in _named_files(description, folder):
        check_tensors(folder / name)
    check_description(description, folder)


def _named_files(description: dict[str, Any], folder: Path) -> list[str]:
    files = description.get("files")
    names = list(files.values()) if isinstance(files, dict) else []
    if not names or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise InputError(f"{folder / MODEL_FILE}: does not name its weights properly; get the model again")
    if not all(name.endswith(TENSORS) for name in names):
        raise InputError(f"{folder / MODEL_FILE}: names files that are no weights; do not use this model")
    return sorted(set(names))


def _new_archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False)  # some disks say 1970


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: is not a model file, or is damaged ({error}); get it again") from error


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The entries, if they are those of a model and nothing else."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if MODEL_FILE not in names:
        raise InputError(f"{path}: holds no model ({MODEL_FILE} is missing); choose a file that BRBS has exported")
    if len(entries) > MOST_FILES or len({name.casefold() for name in names}) < len(names):
        raise InputError(f"{path}: holds too many files, or one twice; this is no exported model")
    for entry in entries:
        if not (_belongs(entry.filename) and _is_plain(entry)):
            raise InputError(f"{path}: holds {entry.filename!r}, which is not part of a model; it was not unpacked")
    size = sum(entry.file_size for entry in entries)
    if size > LARGEST_MODEL:
        raise InputError(f"{path}: would unpack to more than {LARGEST_MODEL // 2**30} GiB; it was not unpacked")
    if size > MOST_EXPANSION * path.stat().st_size:
        raise InputError(f"{path}: would unpack to over {MOST_EXPANSION} times its size; it was not unpacked")
    if archive.getinfo(MODEL_FILE).file_size > LARGEST_DESCRIPTION:
        raise InputError(f"{path}: its description is far too long; it was not unpacked")
    return entries


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    """Whether it is a file, no folder, link or device, not encrypted, and packed in one of the two usual ways.

    Of the others, what is unpacked at once cannot be limited.
    """
    usual = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    file = not entry.is_dir() and stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
    return usual and file and not entry.flag_bits & 1


def _belongs(name: str) -> bool:
    known = name in (MODEL_FILE, PREVIEW_FILE) or name.endswith(TENSORS)
    return known and _NAME.fullmatch(name) is not None


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, path: Path) -> None:
    """Unpacks a file, but no more of it than was announced."""
    left = entry.file_size
    with archive.open(entry) as source, target.open("wb") as stream:
        while block := source.read(2**20):
            left -= len(block)
            if left < 0:
                raise InputError(f"{path}: {entry.filename} is longer than announced; it was not unpacked")
            stream.write(block)


def _check_unpacked(folder: Path, path: Path) -> None:
    """Checks what came out of ``path``, and that the description names all of it."""
    try:
        check_bundle(folder)
    except InputError as error:  # the folder will be gone when people read of it
        raise InputError(f"{path}: {str(error).replace(f'{folder}{os.sep}', '')}") from error
    named = {MODEL_FILE, PREVIEW_FILE, *_named_files(read_description(folder), folder)}
    if strangers := {file.name for file in folder.iterdir()} - named:
        raise InputError(f"{path}: holds {min(strangers)!r}, which is not part of a model; it was not unpacked")
    if (folder / PREVIEW_FILE).exists() and not _is_picture(folder / PREVIEW_FILE):
        raise InputError(f"{path}: holds {PREVIEW_FILE!r}, which is no picture of a model; it was not unpacked")


def _is_picture(path: Path) -> bool:
    """Whether it is a PNG file of modest size: one of few bytes may have pixels that fill the memory."""
    try:
        with path.open("rb") as stream:
            start = stream.read(24)
        width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
        png = start.startswith(b"\x89PNG\r\n\x1a\n") and start[12:16] == b"IHDR"
        return png and max(width, height) <= MOST_PIXELS and path.stat().st_size <= LARGEST_PICTURE
    except OSError:
        return False


def _unused(home: Path, stem: str) -> Path:
    safe = FORBIDDEN.sub("_", stem).strip(" .")[:80] or "model"
    names = chain([safe], (f"{safe} {number}" for number in count(2)))
    return next(home / name for name in names if not (home / name).exists())
