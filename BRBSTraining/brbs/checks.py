"""Whether every scan and label map of a study can be used: looked at once, remembered, judged for the whole study."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .alignment import Geometry
from .errors import InputError
from .files import replacing
from .label_schema import Label, LabelSchema
from .preparation import Progress
from .study import Study, found_structures, refuse_swapped
from .volumes import check_pair, read_image, read_label_map

FILE_NAME = "checks.jsonl"
FORMAT = 1
USABLE = ("ready", "structure", "odd")
FOUND_UNUSABLE = 3  # exit code of `brbs check` where all has been looked at, and not all can be used

_MUCH_LARGER = 2.0  # ratio of fields of view from which a scan is thought to show something else

Key = tuple[Path, Path | None]
Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class CheckedItem:
    """What is known of an atlas, a validation pair or an unlabeled scan.

    Attributes:
        role: "atlas", "validation" or "unlabeled".
        image: the scan.
        labels: its label map; None for an unlabeled scan.
        status: "ready", "missing" (a file is gone), "geometry" (scan and label map lie on different grids), "unusable";
            after :func:`judge` also "structure" (an atlas lacks structures of the study) and "odd" (an unlabeled scan
            is unlike the atlases), both usable; "unchecked" as long as nobody has looked.
        message: one sentence for people with the remedy; empty when "ready".
        signature: size in bytes and time of last change (ns) of each file; None for one that is gone.
        size: voxels (x, y, z); None where the scan could not be read, as the next two.
        spacing: mm (x, y, z).
        extent: field of view along the patient's axes (left, back, head), mm.
        orientation: where the voxel axes point, such as "LPS"; "" where the scan could not be read.
        structures: those with voxels in the label map.
    """

    role: str
    image: Path
    labels: Path | None
    status: str
    message: str = ""
    signature: Signature = ()
    size: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    extent: tuple[float, float, float] | None = None
    orientation: str = ""
    structures: tuple[Label, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a training can use it."""
        return self.status in USABLE

    @property
    def key(self) -> Key:
        """What tells items of a study apart: the paths of scan and label map."""
        return self.image, self.labels


def check_study(study_folder: str | Path, progress: Progress | None = None) -> list[CheckedItem]:
    """Looks at all scans and label maps of a study that are new or have changed since they were last looked at.

    What is found goes to ``checks.jsonl`` in the study's folder, a line an item as soon as it is known.

    Args:
        study_folder: holds ``study.json``.
        progress: told how far it is.

    Returns:
        The items in the order of the study, judged.

    Raises:
        InputError: the study cannot be read, or ``checks.jsonl`` cannot be written.
    """
    study = Study.load(study_folder)
    _compact(study_folder, study)
    known = read_checks(study_folder, study)
    new = [item for item in study_items(study) if item.key not in known]
    for index, item in enumerate(new):
        if progress is not None:
            progress(index / len(new), f"checking {item.image.name}")
        known[item.key] = look_at(item)
        _append(study_folder, known[item.key])
    _compact(study_folder, Study.load(study_folder))  # it may have changed meanwhile
    return judge([known[item.key] for item in study_items(study)], study.schema)


def study_items(study: Study) -> list[CheckedItem]:
    """The items of a study as long as nothing is known of them (status "unchecked"), each once."""
    items = [CheckedItem("atlas", atlas.image, atlas.labels, "unchecked") for atlas in study.atlases]
    items += [CheckedItem("validation", atlas.image, atlas.labels, "unchecked") for atlas in study.validation]
    items += [CheckedItem("unlabeled", path, None, "unchecked") for path in study.unlabeled]
    each: dict[Key, CheckedItem] = {}
    for item in items:
        each.setdefault(item.key, item)
    return list(each.values())


def look_at(item: CheckedItem) -> CheckedItem:
    """The item with all that its files tell; never fails."""
    item = replace(item, signature=_signature(item), status="ready")
    gone = [path for path, state in zip(item.key, item.signature) if state is None]
    if gone:
        message = f"{gone[0]}: no such file; put it back or remove it from the study"
        return replace(item, status="missing", message=message)
    try:
        image = read_image(item.image)
        item = _with_geometry(item, image)
        if item.labels is None:
            return item
        labels = read_label_map(item.labels)
        item = replace(item, structures=found_structures(labels, item.labels).labels)
    except InputError as error:
        return replace(item, status="unusable", message=str(error))
    except (OSError, RuntimeError, MemoryError) as error:
        reason = str(error).strip().splitlines() or ["not enough memory"]
        message = f"{item.image}: cannot be read ({reason[-1]}); check the file, its permissions and the free memory"
        return replace(item, status="unusable", message=message)
    try:
        check_pair(image, labels, item.image, item.labels)
    except InputError as error:
        return replace(item, status="geometry", message=str(error))
    return item


def _with_geometry(item: CheckedItem, image: sitk.Image) -> CheckedItem:
    return replace(
        item,
        size=image.GetSize(),
        spacing=image.GetSpacing(),
        extent=tuple(Geometry.of(image).extent.tolist()),
        orientation=sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection()),
    )


# What is remembered


def read_checks(study_folder: str | Path, study: Study) -> dict[Key, CheckedItem]:
    """What is known of the items of a study, not judged; what has changed on disk since is left out.

    Opens ``checks.jsonl`` and asks for size and time of each file, no more.

    Args:
        study_folder: holds ``checks.jsonl``; it need not.
        study: tells which items count, and in which role.
    """
    remembered = _remembered(Path(study_folder) / FILE_NAME)
    known = {}
    for item in study_items(study):
        found = remembered.get(_absolute(item))
        if found is not None and found.signature == _signature(item):
            same = (found.role, found.key) == (item.role, item.key)
            known[item.key] = found if same else replace(found, role=item.role, image=item.image, labels=item.labels)
    return known


def _remembered(path: Path) -> dict[Key, CheckedItem]:
    """The last line of each item; lines that are broken or of another version are left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return {}
    items = filter(None, map(_parsed, lines))
    return {item.key: item for item in items}


@lru_cache(maxsize=10_000)  # a panel reads the same lines again and again while more are added
def _parsed(line: bytes) -> CheckedItem | None:
    try:
        content = json.loads(line)
        if content.pop("format") != FORMAT:
            return None
        labels, structures = content.pop("labels"), LabelSchema.from_json(content.pop("structures"))
        values = {name: _frozen(value) for name, value in content.items()}
        return CheckedItem(
            **{**values, "image": Path(content["image"])},
            labels=None if labels is None else Path(labels),
            structures=structures.labels,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


def _line(item: CheckedItem) -> str:
    image, labels = _absolute(item)
    content = asdict(replace(item, image=str(image), labels=None if labels is None else str(labels)))
    return json.dumps({"format": FORMAT, **content}) + "\n"


def _append(study_folder: str | Path, item: CheckedItem) -> None:
    path = Path(study_folder) / FILE_NAME
    try:
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(_line(item))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); check the free disk space") from error


def _compact(study_folder: str | Path, study: Study) -> None:
    """Leaves one line for each item of the study of which something is known."""
    path = Path(study_folder) / FILE_NAME
    lines = map(_line, read_checks(study_folder, study).values())
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(lines)


def _absolute(item: CheckedItem) -> Key:
    labels = None if item.labels is None else _absolute_path(item.labels)
    return _absolute_path(item.image), labels


def _absolute_path(path: Path) -> Path:
    return path if path.is_absolute() else Path(os.path.abspath(path))


def _signature(item: CheckedItem) -> Signature:
    return tuple(_state(path) for path in item.key if path is not None)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


# What it means for the study


def judge(items: Iterable[CheckedItem], schema: LabelSchema) -> list[CheckedItem]:
    """The items seen together: structures that an atlas lacks, label values unknown to the study, odd scans.

    Opens no file. Items that are not "ready" stay as they are.

    Args:
        items: as :func:`read_checks` gives them.
        schema: the structures of the study; label maps are not judged while it is empty.
    """
    items = list(items)
    usual = _Usual.of([item for item in items if item.role == "atlas" and item.status == "ready"])
    return [_judged(item, usual, schema) if item.status == "ready" else item for item in items]


@dataclass(frozen=True)
class _Usual:
    """What most atlases are like: orientation, and median field of view along the patient's axes in mm."""

    orientation: str
    extent: tuple[float, ...]

    @classmethod
    def of(cls, atlases: Sequence[CheckedItem]) -> _Usual | None:
        if not atlases:
            return None
        orientation = Counter(atlas.orientation for atlas in atlases).most_common(1)[0][0]
        return cls(orientation, tuple(np.median([atlas.extent for atlas in atlases], axis=0).tolist()))


def _judged(item: CheckedItem, usual: _Usual | None, schema: LabelSchema) -> CheckedItem:
    if item.role == "unlabeled":
        oddity = _oddity(item, usual) if usual else ""
        return replace(item, status="odd", message=oddity) if oddity else item
    if not schema.labels:
        return item
    stranger = _stranger(item, schema)
    if stranger:
        return replace(item, status="unusable", message=stranger)
    present = {label.value for label in item.structures}
    lacking = [f"{label.name} ({label.value})" for label in schema.labels if label.value not in present]
    if not lacking or item.role == "validation":
        return item
    message = f"{item.labels}: lacks {', '.join(lacking)}; segment it if it is in the scan, else leave it so"
    return replace(item, status="structure", message=message)


def _stranger(item: CheckedItem, schema: LabelSchema) -> str:
    """Why the structures of a label map cannot be those of the study; "" when they can."""
    unknown = [f"{label.name} ({label.value})" for label in item.structures if label.value not in schema.values]
    if unknown:
        return f"{item.labels}: has {', '.join(unknown)}, unknown to the study; add it to the structures or remove it"
    try:
        refuse_swapped(item.labels, LabelSchema(item.structures), schema)
    except InputError as error:
        return str(error)
    return ""


def _oddity(item: CheckedItem, usual: _Usual) -> str:
    """What makes a scan unlike the atlases; "" when nothing does."""
    if item.orientation != usual.orientation:
        return (
            f"{item.image}: its voxel axes run {item.orientation}, those of most atlases {usual.orientation}; "
            "it is turned for training, only check that it is the right scan"
        )
    ratios = [own / other for own, other in zip(item.extent, usual.extent)]
    if max(ratios) <= _MUCH_LARGER and min(ratios) >= 1 / _MUCH_LARGER:
        return ""
    return (
        f"{item.image}: shows {_box(item.extent)} mm, the atlases {_box(usual.extent)} mm (left-right, front-back, "
        "foot-head); check that it is the right scan, or crop it"
    )


def _box(extent: Sequence[float]) -> str:
    return " x ".join(f"{length:.0f}" for length in extent)


def trainable(study: Study, items: Iterable[CheckedItem]) -> str | None:
    """The first reason why a training cannot start, in people's words; None when it can.

    Args:
        study: about to be trained.
        items: what is known, judged.
    """
    if not study.atlases:
        return "There is no atlas yet: add a scan with its segmentation."
    if not study.schema.labels:
        return "There are no structures yet: add an atlas whose segmentation holds some."
    if not study.unlabeled:
        return "There is no unlabeled scan yet: add some, they are what the atlases are taught from."
    known = {item.key: item for item in items}
    wanted = study_items(study)
    waiting = sum(item.key not in known for item in wanted)
    if waiting:
        return f"{waiting} of {len(wanted)} scans {'is' if waiting == 1 else 'are'} still being checked."
    bad = [known[item.key] for item in wanted if not known[item.key].usable]
    others = f" ({len(bad) - 1} more cannot be used)" if len(bad) > 1 else ""
    return bad[0].message + others if bad else None
