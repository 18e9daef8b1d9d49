"""A study: a few atlases, many unlabeled scans, the structures and the settings."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from .errors import InputError, naming
from .files import read_json, write_json
from .image_files import FIRST_CHANNEL, bare_name, list_images, pairing_name
from .label_schema import MOST_LABELS, Label, LabelSchema
from .segments import default_label
from .settings import Settings
from .volumes import label_values, read_label_map, read_label_schema

FORMAT = 1
FILE_NAME = "study.json"

log = logging.getLogger("brbs")


@dataclass(frozen=True)
class Atlas:
    """A scan with its label map."""

    image: Path
    labels: Path

    @property
    def name(self) -> str:
        """The image's file name without image suffix."""
        return bare_name(self.image)


@dataclass
class Study:
    """What a model is trained from. Images are named by path only, nothing is copied."""

    atlases: list[Atlas]
    unlabeled: list[Path]
    schema: LabelSchema
    settings: Settings
    validation: list[Atlas] = field(default_factory=list)

    @classmethod
    def from_folders(
        cls,
        atlas_images: str | Path,
        atlas_labels: str | Path,
        unlabeled: str | Path,
        settings: Settings,
    ) -> Study:
        """A study from folders of images and label maps that pair by file name (``a.nii.gz`` with ``a.seg.nrrd``).

        The structures are those found in the atlases' label maps. Names, colours and terminology come from .seg.nrrd
        files, names else from a ``dataset.json`` beside or above the label folder that knows all values found.

        Raises:
            InputError: a folder is missing; an image without label map or the reverse; one name twice in a folder;
                no atlas; no unlabeled scan; an unusable label map; two structures of one name.
        """
        atlases = pair_folders(atlas_images, atlas_labels)
        scans = list_images(unlabeled)
        if not scans:
            raise InputError(f"{unlabeled}: holds no unlabeled scans; put at least one there, not in sub-folders")
        return cls(atlases, scans, _schema_of(atlases), settings)

    @classmethod
    def from_dataset(cls, folder: str | Path, settings: Settings) -> Study:
        """A study from a folder of the Medical Segmentation Decathlon or of nnU-Net (raw).

        Labelled images of ``imagesTr`` are the atlases; its other images and all of ``imagesTs`` are unlabeled.

        Raises:
            InputError: no ``dataset.json``, several channels a case, or as in :meth:`from_folders`.
        """
        folder = Path(folder)
        lacking = [name for name in ("dataset.json", "imagesTr", "labelsTr") if not (folder / name).exists()]
        if lacking:
            raise InputError(f"{folder}: is no such data set; it lacks {' and '.join(lacking)}")
        description = read_json(folder / "dataset.json")
        refuse_channels(description, folder / "dataset.json")
        labels = list_images(folder / "labelsTr")
        images = _without_channel(list_images(folder / "imagesTr"), labels)
        named_labels = by_name(labels)
        with_labels = [image for name, image in images.items() if name in named_labels]
        scans = [image for image in images.values() if image not in with_labels]
        if (folder / "imagesTs").is_dir():
            scans += list_images(folder / "imagesTs")
        atlases = _pair(with_labels, labels, images)
        if not atlases:
            raise InputError(f"{folder / 'labelsTr'}: holds no label map; put at least one there")
        if not scans:
            raise InputError(f"{folder}: holds no unlabeled scans; put some in imagesTs, or in imagesTr without label")
        return cls(atlases, scans, _schema_of(atlases), settings)

    def save(self, folder: str | Path) -> None:
        """Writes ``study.json``; files inside ``folder`` are stored by relative path, so that it can be moved.

        Raises:
            InputError: the file cannot be written.
        """
        root = Path(os.path.abspath(folder))
        content = {
            "format": FORMAT,
            "atlases": [_stored_atlas(atlas, root) for atlas in self.atlases],
            "unlabeled": [_stored(path, root) for path in self.unlabeled],
            "validation": [_stored_atlas(atlas, root) for atlas in self.validation],
            "labels": self.schema.to_json(),
            "settings": self.settings.to_json(),
        }
        write_json(root / FILE_NAME, content)

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """Reads ``study.json`` of a folder; does not open the images.

        Raises:
            InputError: missing, damaged, or written by a newer version.
        """
        root = Path(os.path.abspath(folder))
        path = root / FILE_NAME
        if not path.is_file():
            raise InputError(f"{folder}: holds no study, as there is no {FILE_NAME}; give the folder of a study")
        content = read_json(path, newest_format=FORMAT)
        try:
            return cls(
                [_loaded_atlas(entry, root) for entry in _entries(content["atlases"])],
                [_loaded(stored, root) for stored in _entries(content["unlabeled"])],
                LabelSchema.from_json(content["labels"]),
                Settings.from_json(content["settings"]),
                [_loaded_atlas(entry, root) for entry in _entries(content.get("validation", []))],
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # What other errors say can hold names of scans.
            reason = repr(error) if isinstance(error, KeyError) else type(error).__name__
            raise InputError(f"{path}: is damaged ({reason}); make the study again") from error


# Pairing by name


def pair_folders(images: str | Path, labels: str | Path) -> list[Atlas]:
    """The scans of one folder with the label maps of the same names in another.

    Raises:
        InputError: a folder is missing or empty; an image without label map or the reverse; one name twice in a folder.
    """
    pairs = _pair(list_images(images), list_images(labels))
    if not pairs:
        raise InputError(f"{images}: holds no annotated scan; sub-folders are not searched, so give the very folder")
    return pairs


def by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by the name that they are paired by.

    Raises:
        InputError: a name comes twice.
    """
    named: dict[str, Path] = {}
    for path in paths:
        earlier = named.setdefault(pairing_name(path), path)
        if earlier is not path:
            raise InputError(f"{path}: has the same name as {earlier.name}; keep one of the two")
    return named


def _pair(images: Sequence[Path], labels: Sequence[Path], names: Mapping[str, Path] | None = None) -> list[Atlas]:
    """Pairs every image with the label map of the same name; ``names`` may give images other names than their own."""
    named_images = {name: path for name, path in (names or by_name(images)).items() if path in images}
    named_labels = by_name(labels)
    for name, image in named_images.items():
        if name not in named_labels:
            raise InputError(f"{image}: has no label map; add one named {name} to the folder of label maps")
    for name, label_map in named_labels.items():
        if name not in named_images:
            raise InputError(f"{label_map}: has no image; add one named {name} to the folder of images")
    return [Atlas(image, named_labels[name]) for name, image in named_images.items()]


def refuse_channels(description: Mapping[str, Any], path: Path) -> None:
    """Refuses a data set with several channels a case; ``description`` is the content of its ``path``, dataset.json.

    Raises:
        InputError: as said.
    """
    channels = description.get("channel_names", description.get("modality", {}))
    if isinstance(channels, dict | list) and len(channels) > 1:
        raise InputError(f"{path}: has {len(channels)} channels a case; only one can be used")


def _without_channel(images: Sequence[Path], labels: Sequence[Path]) -> dict[str, Path]:
    """Images by case name: nnU-Net's ``_0000`` is taken off unless a label map has it, too."""
    cases = by_name(labels)
    named = by_name(images).items()
    return {name if name in cases else name.removesuffix(FIRST_CHANNEL): image for name, image in named}


# Structures


def _schema_of(atlases: Sequence[Atlas]) -> LabelSchema:
    """The structures found in the atlases' label maps, merged by value; differences are reported in the log."""
    schemas = {atlas.labels: found_structures(read_label_map(atlas.labels), atlas.labels) for atlas in atlases}
    named = [LabelSchema(tuple(label for label in own.labels if not _is_default(label))) for own in schemas.values()]
    schema = reduce(LabelSchema.merge, [*named, *schemas.values()])
    for path, own in schemas.items():
        missing = [f"{label.value} ({label.name})" for label in schema.labels if label.value not in own.values]
        if missing:
            log.warning("%s: lacks label %s, which other atlases have", path, ", ".join(missing))
    _compare_names(schemas, schema)
    schema = with_dataset_names(schema, atlases[0].labels.parent)
    schema.refuse_shared_names()
    return schema


def found_structures(labels: sitk.Image, path: Path) -> LabelSchema:
    """The structures that have voxels in a label map, with the names, colours and terminology of its file.

    Args:
        labels: the label map as read from ``path``.
        path: its file.

    Raises:
        InputError: more values than structures can be trained together; a damaged file.
    """
    present = label_values(labels)
    if len(present) > MOST_LABELS:
        raise InputError(f"{path}: has {len(present)} different values, more than {MOST_LABELS}; is it a label map?")
    described = [Label(*meta) for meta in read_label_schema(path) or () if meta[0] in present]
    return LabelSchema(tuple(described)).merge(LabelSchema.from_values(present))


def _compare_names(schemas: Mapping[Path, LabelSchema], schema: LabelSchema) -> None:
    """Refuses atlases whose segments have the same names under swapped values; reports other differences."""
    names = {label.value: label.name for label in schema.labels}
    for path, own in schemas.items():
        refuse_swapped(path, own, schema)
        for label in own.labels:
            known = names[label.value]
            if not _is_default(label) and label.name.casefold() != known.casefold():
                log.warning("%s: label %d is '%s' here, '%s' is kept", path, label.value, label.name, known)


def refuse_swapped(path: Path, own: LabelSchema, schema: LabelSchema) -> None:
    """Refuses a label map in which a name belongs to another value than in the study, or in the study to two.

    A name that the label map has twice does not tell which of its structures is meant, and is left to the study's.

    Args:
        path: the label map.
        own: its structures.
        schema: the structures of the study; those that it lacks are not looked at.

    Raises:
        InputError: a name under another value than in ``schema``, or two structures of one name there.
    """
    names = {label.value: label.name for label in schema.labels}
    held = {names[value].casefold() for value in own.values if value in names}
    with naming(path):
        LabelSchema(tuple(label for label in schema.labels if label.name.casefold() in held)).refuse_shared_names()
    values = {name.casefold(): value for value, name in names.items()}
    counts = Counter(label.name.casefold() for label in own.labels)
    for label in own.labels:
        known, name = names.get(label.value), label.name.casefold()
        if known is None or _is_default(label) or name == known.casefold() or name not in values or counts[name] > 1:
            continue
        raise InputError(
            f"{path}: label {label.value} is '{label.name}' here, but in other atlases '{known}', and "
            f"'{label.name}' is {values[name]}; give each structure one value in all atlases"
        )


def _is_default(label: Label) -> bool:
    return label.name == default_label(label.value)[1]


def with_dataset_names(schema: LabelSchema, labels_folder: Path) -> LabelSchema:
    """Gives names from a ``dataset.json`` in, beside or above the label folder to structures that have none."""
    labels_folder = Path(os.path.abspath(labels_folder))
    for folder in (labels_folder, *labels_folder.parents[:2]):
        path = folder / "dataset.json"
        if path.is_file():
            names = _dataset_names(read_json(path).get("labels"))
            if not set(schema.values) <= set(names):
                log.warning("%s: does not name all label values found (%s), not used", path, schema.values)
                continue
            return LabelSchema(
                tuple(
                    Label(label.value, names[label.value], label.colour) if _is_default(label) else label
                    for label in schema.labels
                )
            )
    return schema


def _dataset_names(labels: Any) -> dict[int, str]:
    """Names by value from ``{"1": "liver"}`` or ``{"liver": 1}``; nnU-Net's regions (lists of values) are left out."""
    names: dict[int, str] = {}
    for key, content in labels.items() if isinstance(labels, dict) else ():
        if str(key).isdecimal() and len(str(key)) < 20:  # Python refuses to read numbers of thousands of digits
            names[int(key)] = str(content)
        elif isinstance(content, int):
            names[content] = str(key)
    return names


# Paths in study.json


def _stored(path: Path, root: Path) -> str:
    absolute, parent = os.path.abspath(path), os.path.join(root, "")
    inside = os.path.normcase(absolute).startswith(os.path.normcase(parent))
    return absolute[len(parent) :].replace(os.sep, "/") if inside else absolute


def _stored_atlas(atlas: Atlas, root: Path) -> dict[str, str]:
    return {"image": _stored(atlas.image, root), "labels": _stored(atlas.labels, root)}


def _loaded_atlas(entry: Mapping[str, str], root: Path) -> Atlas:
    return Atlas(_loaded(entry["image"], root), _loaded(entry["labels"], root))


def _entries(stored: Any) -> list[Any]:
    """A list as it is: a text would be taken for the list of its letters."""
    if not isinstance(stored, list):
        raise TypeError(f"{stored!r} is no list")
    return stored


def _loaded(stored: Any, root: Path) -> Path:
    if not isinstance(stored, str) or not stored or "\0" in stored:
        raise ValueError(f"{stored!r} is no path")
    return root / stored
