"""Finding the scans of a folder and the label maps that belong to them, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError
from .files import read_json
from .image_files import FIRST_CHANNEL, image_suffix, list_images, pairing_name
from .study import Atlas, refuse_channels

LAYOUTS = (("imagestr", "labelstr"), ("images", "labels"))  # sub-folders of scans and of label maps, lower case
UNLABELED_FOLDERS = ("imagests", "unlabeled")

_WORD = "(?:labels?|seg|mask|segmentation)"
_LABEL_NAMES = (re.compile(rf"(.+)[-_. ]{_WORD}", re.IGNORECASE), re.compile(rf"{_WORD}[-_. ](.+)", re.IGNORECASE))


@dataclass(frozen=True)
class Found:
    """What a folder holds, in name order.

    Attributes:
        atlases: scans with their label maps.
        scans: scans without label map.
        orphans: label maps without scan.
    """

    atlases: list[Atlas]
    scans: list[Path]
    orphans: list[Path]


def find_pairs(folder: str | Path) -> Found:
    """Pairs the scans and label maps of a folder by name, whatever the case of the letters.

    Two layouts are known: sub-folders of scans and of label maps (``images`` with ``labels``, ``imagesTr`` with
    ``labelsTr``; the scans of ``imagesTs`` and ``unlabeled`` have no label map), and one folder in which label maps
    lie beside their scans: ``a.seg.nrrd``, ``a-label.nii.gz``, ``a_mask.nrrd``, ``seg_a.nii`` or
    ``a Segmentation.nrrd`` belong to ``a.nii.gz``.

    Raises:
        InputError: the folder is missing or holds no image; a scan with two label maps or the reverse; a data set with
            several channels a case.
    """
    folder = Path(folder)
    loose = list_images(folder)
    images, labels, unlabeled = _sub_folders(folder) or (*_apart(loose), [])
    if not images and not labels and not unlabeled:
        raise InputError(f"{folder}: holds no scans; choose a folder with scans, or with sub-folders images and labels")
    found = _pair(images, labels)
    return Found(found.atlases, [*found.scans, *unlabeled], found.orphans)


def pair_files(paths: Sequence[str | Path]) -> Found:
    """Pairs chosen files as those of one folder.

    Raises:
        InputError: none of them is an image; a scan with two label maps or the reverse.
    """
    images, labels = _apart([path for path in map(Path, paths) if image_suffix(path)])
    if not images and not labels:
        raise InputError("none of these files is an image; choose NIfTI, NRRD or MetaImage files")
    return _pair(images, labels)


def _sub_folders(folder: Path) -> tuple[list[Path], list[Path], list[Path]] | None:
    """Scans, label maps and scans without label map of a folder with sub-folders; None without such."""
    named = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    for images, labels in LAYOUTS:
        if images not in named:
            continue
        description = folder / "dataset.json"
        if description.is_file():
            refuse_channels(read_json(description), description)
        unlabeled = [scan for name in UNLABELED_FOLDERS if name in named for scan in list_images(named[name])]
        return list_images(named[images]), list_images(named[labels]) if labels in named else [], unlabeled
    return None


def _apart(images: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Scans and label maps that lie side by side."""
    labels = [path for path in images if image_suffix(path).lower() == ".seg.nrrd" or _scan_name(path) is not None]
    return [path for path in images if path not in labels], labels


def _scan_name(labels: Path) -> str | None:
    """What remains of a file name without the word that marks it as label map; None without such a word."""
    found = (pattern.fullmatch(pairing_name(labels)) for pattern in _LABEL_NAMES)
    return next((match[1] for match in found if match), None)


def _pair(images: Sequence[Path], labels: Sequence[Path]) -> Found:
    by_name: dict[str, list[Path]] = {}
    for image in images:
        by_name.setdefault(pairing_name(image).casefold(), []).append(image)
    for name, same in list(by_name.items()):
        by_name.setdefault(name.removesuffix(FIRST_CHANNEL), same)

    paired: dict[Path, Path] = {}
    orphans = []
    for label_map in labels:
        image = _image_of(label_map, by_name)
        if image is None:
            orphans.append(label_map)
        elif (other := paired.setdefault(image, label_map)) is not label_map:
            raise InputError(f"{label_map}: belongs to the same scan as {other.name}; keep one of the two label maps")
    atlases = [Atlas(image, paired[image]) for image in images if image in paired]
    return Found(atlases, [image for image in images if image not in paired], orphans)


def _image_of(labels: Path, by_name: Mapping[str, Sequence[Path]]) -> Path | None:
    """The scan of a label map: of the same name, else of the name without the label map's own word."""
    for name in (pairing_name(labels), _scan_name(labels)):
        images = by_name.get(name.casefold(), ()) if name else ()
        if len(images) > 1:
            raise InputError(f"{images[1]}: has the same name as {images[0].name}; keep one of the two")
        if images:
            return images[0]
    return None
