"""The table of a batch: a row a scan with volumes and confidence, and what tells whether it has to be done again."""

from __future__ import annotations

import csv
import glob
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .absence import told_confidence
from .components import COMPONENTS
from .errors import InputError
from .files import replacing
from .image_header import voxel_files
from .model_description import model_identity

SCAN, LABEL_MAP, STATE, MESSAGE, MODEL, CONTENT = "scan", "label map", "state", "message", "model", "scan content"
WAITING, RUNNING, FINISHED, SKIPPED, FAILED = "waiting", "running", "finished", "skipped", "failed"  # of a scan
SCAN_EVENT = "scan"  # tells a job's watchers the state of a scan
PART = ".part"
CHUNK = 1 << 20  # bytes


class ResultTable:
    """A CSV file that is renewed after every scan; rows of scans that are not met stay as they are.

    Rows that could not be written, as on Windows while a spreadsheet program has the file open, go with the next.

    Columns: scan and label map (paths), state ("finished" or "failed"), message, then for each structure
    "NAME volume (mL)" and "NAME confidence" (0..1, empty where not known, and where nothing of it was found and nothing
    expected), at last what identifies the model's weights with the options, and the scan's content.

    Args:
        path: the file; one that is there is continued.
        structures: names of what the model segments.
        part: 0, or the number of a process that is not the first: its rows go to a file of its own beside the table,
            until the first one takes them.

    Raises:
        InputError: the file is there but is no such table.
    """

    def __init__(self, path: str | Path, structures: Sequence[str], part: int = 0) -> None:
        self.path, self._structures = Path(path), list(structures)
        self._target = self.path.with_name(f"{self.path.name}{PART}{part}") if part else self.path
        self._rows: dict[str, dict[str, str]] = {row[SCAN]: row for row in read_rows(path)}
        self._own: dict[str, dict[str, str]] = {} if part else self._rows  # what goes to the file
        self._behind = False  # whether rows wait that are not in the file

    @property
    def written(self) -> list[dict[str, str]]:
        """The rows of the file; of a part only those that were put there."""
        return list(self._own.values())

    def take(self, rows: Iterable[dict[str, str]], scans: Sequence[Path]) -> None:
        """Takes rows of other processes into the table; their parts go.

        Args:
            rows: of one part or several.
            scans: in whose order the rows come to stand, after those of all other scans.

        Raises:
            InputError: the file cannot be written.
        """
        self._rows.update((row[SCAN], row) for row in rows)
        for key in map(_key, scans):
            if key in self._rows:
                self._rows[key] = self._rows.pop(key)
        self._behind = True
        self.catch_up()
        for part in _parts(self.path):
            part.unlink(missing_ok=True)

    def is_finished(self, scan: Path, label_map: Path, model: str, content: str) -> bool:
        """Whether this model, see :func:`result_identity`, has segmented just this content into that file."""
        row = self._rows.get(_key(scan), {})
        known = (row.get(STATE), row.get(LABEL_MAP), row.get(MODEL), row.get(CONTENT))
        return known == (FINISHED, _key(label_map), model, content) and label_map.is_file()

    def findings(self, scan: Path) -> tuple[dict[str, float], dict[str, float | None]]:
        """Volumes (mL) and confidences (0..1, or None) of a scan by structure, as far as the table tells them."""
        row = self._rows.get(_key(scan), {})
        volumes = _numbers({name: row.get(_volume(name), "") for name in self._structures})
        confidence = _numbers({name: row.get(_confidence(name), "") for name in self._structures})
        return volumes, told_confidence(volumes, confidence)

    def put(
        self,
        scan: Path,
        label_map: Path,
        state: str,
        message: str = "",
        volumes: Mapping[str, float] | None = None,
        confidence: Mapping[str, float | None] | None = None,
        model: str = "",
        content: str = "",
    ) -> None:
        """Writes the row of a scan.

        Args:
            scan: the file or DICOM folder.
            label_map: where its label map is, or was to be.
            state: "finished", "failed" or another of :mod:`brbs.batch`.
            message: what there is to say of it.
            volumes: mL by structure.
            confidence: 0..1 by structure, None where it is not known.
            model: what tells whether the model has changed.
            content: what tells whether the scan has changed.

        Raises:
            InputError: the file cannot be written; the row is kept for the next time.
        """
        row: dict[str, Any] = {SCAN: _key(scan), LABEL_MAP: _key(label_map), STATE: state, MESSAGE: message}
        row |= {_volume(name): value for name, value in (volumes or {}).items()}
        known = {name: value for name, value in (confidence or {}).items() if value is not None}
        row |= {_confidence(name): round(value, 4) for name, value in known.items()}
        self._own[row[SCAN]] = self._rows[row[SCAN]] = row | {MODEL: model, CONTENT: content}
        self._write()

    def catch_up(self) -> None:
        """Writes the rows that wait, if any do.

        Raises:
            InputError: the file cannot be written; tells how to come by these rows.
        """
        if not self._behind:
            return
        try:
            self._write()
        except InputError as error:
            remedy = "close it in other programs, and complete it by running this again with --skip-finished"
            raise InputError(f"{error}; the label maps are there: {remedy}") from error

    def _write(self) -> None:
        self._behind = True
        own = [column(name) for name in self._structures for column in (_volume, _confidence)]
        foreign = [key for row in self._own.values() for key in row]
        columns = [SCAN, LABEL_MAP, STATE, MESSAGE, *own, *foreign]
        ordered = [column for column in dict.fromkeys(columns) if column not in (MODEL, CONTENT)] + [MODEL, CONTENT]
        # With a byte order mark, without which spreadsheets take UTF-8 for something else.
        with replacing(self._target) as temporary, temporary.open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.DictWriter(stream, ordered, restval="")
            writer.writeheader()
            writer.writerows(self._own.values())
        self._behind = False


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Rows of a table by column name; none where there is no file.

    Raises:
        InputError: the file cannot be read or is no such table.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey="", restval="")
            rows = [{key: value for key, value in row.items() if key} for row in reader]
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); choose another file") from error
    if not {SCAN, LABEL_MAP, STATE} <= columns:
        raise InputError(f"{path}: is not a table of segmented scans; choose another file")
    return rows


def read_parts(path: str | Path) -> list[dict[str, str]]:
    """Rows that other processes have put beside a table and that nobody has taken: they or the first one were killed.

    Raises:
        InputError: a part cannot be read.
    """
    return [row for part in _parts(Path(path)) for row in read_rows(part)]


def _parts(table: Path) -> list[Path]:
    found = table.parent.glob(f"{glob.escape(table.name)}{PART}*")
    return sorted(path for path in found if path.name.rpartition(PART)[2].isdigit())


def result_identity(model: str | Path, components: str, probabilities: bool = False) -> str:
    """What decides a scan's results: the model's weights, and those of the options that are not the usual ones.

    Args:
        model: its folder.
        components: which connected pieces of structures stay; see :data:`brbs.components.COMPONENTS`.
        probabilities: an image a class is written beside the label map.

    Raises:
        InputError: no model there, or its description is damaged.
    """
    options = ["" if components == COMPONENTS[0] else components, "probabilities" if probabilities else ""]
    return " ".join(filter(None, [model_identity(model), *options]))


def scan_identity(scan: str | Path) -> str:
    """Digest of a scan's voxels and header as they are on disk; of all files of a DICOM folder.

    Raises:
        InputError: it cannot be read.
    """
    scan = Path(scan)
    digest = hashlib.blake2b(digest_size=12)
    try:
        for path in _files(scan):
            if not path.is_file():  # of a pipe, nobody knows when it ends
                raise InputError(f"{path}: cannot be read (no such file)")
            with path.open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise InputError(f"{error.filename or scan}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def _files(scan: Path) -> list[Path]:
    """All files of a scan: of a DICOM folder, or a file with those that hold its voxels."""
    if scan.is_dir():
        return sorted(path for path in scan.iterdir() if path.is_file())
    return [scan, *(path for path in voxel_files(scan) if path != scan)] if scan.is_file() else [scan]


def _numbers(cells: Mapping[str, Any]) -> dict[str, float]:
    """What is a number; spreadsheets may have changed the rest."""
    found = {}
    for name, cell in cells.items():
        with suppress(ValueError):
            found[name] = float(cell)
    return found


def _key(path: Path) -> str:
    return str(Path(path).absolute())


def _volume(name: str) -> str:
    return f"{name} volume (mL)"


def _confidence(name: str) -> str:
    return f"{name} confidence"
