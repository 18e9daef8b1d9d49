"""A model in one file, to be given to a colleague: written without names of scans or people, read with distrust."""

from __future__ import annotations

import json
import re
import stat
import tempfile
import zipfile
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from .errors import InputError
from .files import replacing
from .model_description import MODEL_FILE, read_description

TENSORS = ".safetensors"
MOST_FILES = 20
LARGEST_DESCRIPTION = 10 * 2**20  # bytes
LARGEST_HEADER = 10 * 2**20
LARGEST_MODEL = 4 * 2**30
PRIVATE = ("atlases", "unlabeled", "study")  # of a model's provenance: names that may be patients'

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


def export_bundle(folder: str | Path, path: str | Path) -> None:
    """Writes a model's description and weights to a .zip file.

    Of where it comes from, names of scans and folders are left out; the number of atlases stays.

    Raises:
        InputError: no model there, it is damaged, or the file cannot be written.
    """
    folder = Path(folder)
    description = read_description(folder)
    files = _named_files(description, folder)
    for name in files:
        _check_tensors(folder / name)
    provenance = dict(description.get("provenance", {}))
    if "atlases" in provenance:
        provenance["atlas_count"] = len(provenance["atlases"])
    kept = {key: value for key, value in provenance.items() if key not in PRIVATE}
    text = json.dumps(description | {"provenance": kept}, indent=1, ensure_ascii=False)
    with replacing(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MODEL_FILE, text)
        for name in files:
            archive.write(folder / name, name)


def import_bundle(path: str | Path, home: str | Path) -> Path:
    """Unpacks a file that :func:`export_bundle` wrote.

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
                check_bundle(Path(aside))
                target = _unused(home, path.stem)
                target.mkdir()
                # The description goes last: without it there is no model.
                for name in sorted((entry.filename for entry in entries), key=lambda name: name == MODEL_FILE):
                    (Path(aside) / name).rename(target / name)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{home}: cannot be written ({reason}); check the free disk space") from error
    return target


def check_bundle(folder: str | Path) -> None:
    """Checks a model's folder without loading it.

    Raises:
        InputError: description missing, damaged or of a newer version; weights missing, or not what their header says.
    """
    folder = Path(folder)
    for name in _named_files(read_description(folder), folder):
        _check_tensors(folder / name)


def _named_files(description: dict, folder: Path) -> list[str]:
    files = description.get("files")
    names = list(files.values()) if isinstance(files, dict) else []
    if not names or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise InputError(f"{folder / MODEL_FILE}: does not name its weights properly; get the model again")
    if not all(name.endswith(TENSORS) for name in names):
        raise InputError(f"{folder / MODEL_FILE}: names files that are no weights; do not use this model")
    return sorted(set(names))


@contextmanager
def _opened(path: Path):
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zipfile.LargeZipFile) as error:
        raise InputError(f"{path}: is no model file, or is damaged ({error}); get it again") from error


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The entries, if they are those of a model and nothing else."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if MODEL_FILE not in names:
        raise InputError(f"{path}: holds no model ({MODEL_FILE} is missing); choose a file that BRBS has exported")
    if len(entries) > MOST_FILES or len({name.casefold() for name in names}) < len(names):
        raise InputError(f"{path}: holds too many files, or one twice; this is no exported model")
    for entry in entries:
        plain = not entry.is_dir() and not stat.S_ISLNK(entry.external_attr >> 16) and not entry.flag_bits & 1
        known = entry.filename == MODEL_FILE or entry.filename.endswith(TENSORS)
        if not (plain and known and _NAME.fullmatch(entry.filename)):
            raise InputError(f"{path}: holds {entry.filename!r}, which is not part of a model; it was not unpacked")
    if sum(entry.file_size for entry in entries) > LARGEST_MODEL:
        raise InputError(f"{path}: would unpack to more than {LARGEST_MODEL // 2**30} GiB; it was not unpacked")
    if archive.getinfo(MODEL_FILE).file_size > LARGEST_DESCRIPTION:
        raise InputError(f"{path}: its description is far too long; it was not unpacked")
    return entries


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, path: Path) -> None:
    """Unpacks a file, but no more of it than was announced."""
    left = entry.file_size
    with archive.open(entry) as source, target.open("wb") as stream:
        while block := source.read(2**20):
            left -= len(block)
            if left < 0:
                raise InputError(f"{path}: {entry.filename} is longer than announced; it was not unpacked")
            stream.write(block)


def _check_tensors(path: Path) -> None:
    """Whether a safetensors file's header fits its length; weights are not read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ValueError("its header is too long")
            header = json.loads(stream.read(length))
        spans = sorted(tuple(entry["data_offsets"]) for name, entry in header.items() if name != "__metadata__")
        ends = [0, *(end for _, end in spans)]
        if [start for start, _ in spans] != ends[:-1] or ends[-1] != size - 8 - length:
            raise ValueError("its header does not fit its length")
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; get the model again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); get the model again") from error


def _unused(home: Path, stem: str) -> Path:
    safe = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", stem).strip(" .")[:80] or "model"
    names = chain([safe], (f"{safe} {number}" for number in count(2)))
    return next(home / name for name in names if not (home / name).exists())
