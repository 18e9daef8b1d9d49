"""From files to arrays: reads a study once, checks every file, and puts all scans on one working grid."""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .alignment import Geometry
from .errors import InputError, naming
from .files import replacing
from .grid import WorkingGrid
from .grid_choice import choose_grid
from .image_files import bare_name
from .image_header import check_geometry
from .label_schema import LabelSchema
from .overview import Overview
from .scan_roles import check_scans
from .study import Atlas, Study
from .volumes import check_pair, plain_errors, read_image, read_label_map

log = logging.getLogger("brbs")

FORMAT = 1
_DAMAGED = (zipfile.BadZipFile, zlib.error)
_ATLAS_ARRAYS = ("atlas_images", "atlas_labels")
_ARRAYS = (*_ATLAS_ARRAYS, "unlabeled_images", "validation_images", "validation_labels")

Pair = tuple[sitk.Image, sitk.Image]  # a scan and its label map
Progress = Callable[[float, str], None]
"""Called with the fraction done, 0..1, and what is being done."""


@dataclass
class Prepared:
    """A study on its working grid (D, H, W), ready for training.

    Attributes:
        grid: the working grid.
        schema: the labels; class index 0 is the background, i + 1 is `schema.labels[i]`.
        atlas_images: float32 (A, D, H, W), 0..1.
        atlas_labels: uint8 (A, D, H, W), class indices.
        unlabeled_images: float32 (U, D, H, W), 0..1.
        validation_images: float32 (V, D, H, W), 0..1; V may be 0.
        validation_labels: uint8 (V, D, H, W), class indices.
        atlas_names: of the A atlases.
        unlabeled_names: of the U scans.
        overview: of the first atlas, where scans are registered and the grid shows only a part of them.
    """

    grid: WorkingGrid
    schema: LabelSchema
    atlas_images: np.ndarray
    atlas_labels: np.ndarray
    unlabeled_images: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    atlas_names: list[str]
    unlabeled_names: list[str]
    overview: Overview | None = None

    def save(self, path: str | Path) -> None:
        """Writes everything to one .npz file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        description = {
            "format": FORMAT,
            "grid": self.grid.to_json(),
            "schema": self.schema.to_json(),
            "atlas_names": self.atlas_names,
            "unlabeled_names": self.unlabeled_names,
            "overview": self.overview and self.overview.to_json(),
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.overview is not None:
            arrays["overview"] = self.overview.volume
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, description=np.array(json.dumps(description)), **arrays)

    @classmethod
    def load(cls, path: str | Path, scans: bool = True) -> Prepared:
        """Reads what `save` wrote.

        Args:
            path: the file.
            scans: read unlabeled and validation scans, too; without them, U and V are 0 whatever the names are.

        Raises:
            InputError: missing or damaged file, or written in another format.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                description = json.loads(str(content["description"]))
                arrays = {name: content[name] for name in (_ARRAYS if scans else _ATLAS_ARRAYS)}
                overview = content["overview"] if "overview" in content else None
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; without it nothing goes on, train anew with --overwrite") from None
        except (OSError, EOFError, ValueError, KeyError, NotImplementedError, *_DAMAGED) as error:
            raise InputError(f"{path}: cannot be read ({error}); train anew with --overwrite") from error
        found = description.get("format") if isinstance(description, dict) else None
        if found != FORMAT:
            raise InputError(f"{path}: has format {found}, this version reads {FORMAT}; train anew with --overwrite")
        nothing = np.empty((0, *arrays["atlas_images"].shape[1:]), np.float32)
        try:
            return cls(
                grid=WorkingGrid.from_json(description["grid"]),
                schema=LabelSchema.from_json(description["schema"]),
                atlas_names=description["atlas_names"],
                unlabeled_names=description["unlabeled_names"],
                overview=None if overview is None else Overview.from_json(description["overview"], overview),
                **dict.fromkeys(_ARRAYS, nothing) | arrays,
            )
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is damaged ({error}); train anew with --overwrite") from error


def prepare(study: Study, voxel_budget: int, progress: Progress | None = None) -> Prepared:
    """Reads and checks all scans of a study and samples them on the working grid chosen for it.

    The voxels of each scan are read once (of validation pairs twice: checked first, then placed) and only the atlases
    are held in memory at full size.

    Args:
        study: atlases, unlabeled and validation scans, labels, settings.
        voxel_budget: most voxels the working grid may have.
        progress: told how far it is.

    Raises:
        InputError: a file that is missing, damaged or unsuitable, a pair that does not match, no atlases, no
            unlabeled scans, validation on an atlas; the message names the file.
    """
    if not study.atlases:
        raise InputError("the study has no atlases; at least one scan with a label map is needed")
    if not study.unlabeled:
        raise InputError("the study has no unlabeled scans; they are what the atlases are taught from, so add some")
    check_scans(study)
    study.schema.refuse_shared_names()
    report = _Steps(2 * len(study.atlases) + len(study.unlabeled) + 2 * len(study.validation), progress)

    geometries = [_geometry(path) for path in study.unlabeled]
    atlases = []
    for atlas in study.atlases:
        report(f"reading {atlas.name}")
        atlases.append(_read_pair(atlas))
    for atlas in study.validation:
        report(f"checking {atlas.name}")
        _, labels = _read_pair(atlas)
        study.schema.encode(sitk.GetArrayViewFromImage(labels), atlas.labels)
    grid = choose_grid(atlases, geometries, study.settings, voxel_budget)

    sampler = _Sampler(grid, study.schema, report)
    atlas_images, atlas_labels = sampler.pairs(study.atlases, iter(atlases))
    _check_structures(study.schema, sampler.classes, atlas_labels, grid)
    unlabeled_images = sampler.scans(study.unlabeled)
    validation_images, validation_labels = sampler.pairs(study.validation, map(_read_pair, study.validation))
    log.info("prepared scans: %d annotated, %d unlabeled", len(atlas_images), len(unlabeled_images))
    return Prepared(
        grid=grid,
        schema=study.schema,
        atlas_images=atlas_images,
        atlas_labels=atlas_labels,
        unlabeled_images=unlabeled_images,
        validation_images=validation_images,
        validation_labels=validation_labels,
        atlas_names=[atlas.name for atlas in study.atlases],
        unlabeled_names=[bare_name(path) for path in study.unlabeled],
        overview=sampler.overview,
    )


class _Sampler:
    """Samples scans on the working grid; the first one is what others are aligned to.

    Args:
        grid: the working grid.
        schema: the structures.
        report: told each scan before it is placed.

    Attributes:
        overview: of the first one, where it is needed to align the others.
        classes: indices that the label maps held before they were sampled.
    """

    def __init__(self, grid: WorkingGrid, schema: LabelSchema, report: Callable[[str], None]) -> None:
        self._grid, self._schema, self._report = grid, schema, report
        self._reference: sitk.Image | None = None
        self.overview: Overview | None = None
        self.classes: set[int] = set()

    def scans(self, paths: Sequence[Path]) -> np.ndarray:
        """float32 (N, D, H, W) of scans, which are read one by one."""
        images = np.empty((len(paths), *self._grid.shape), np.float32)
        for index, path in enumerate(paths):
            self._report(f"placing {bare_name(path)}")
            images[index], _ = self._sample(read_image(path), path)
        return images

    def pairs(self, atlases: Sequence[Atlas], read: Iterator[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """float32 (N, D, H, W) of scans and uint8 class indices of their label maps.

        Args:
            atlases: annotated scans.
            read: their images, in the same order.
        """
        images = np.empty((len(atlases), *self._grid.shape), np.float32)
        classes = np.empty((len(atlases), *self._grid.shape), np.uint8)
        for index, atlas in enumerate(atlases):
            self._report(f"placing {atlas.name}")
            image, labels = next(read)
            images[index], placement = self._sample(image, atlas.image)
            classes[index] = self._sample_labels(labels, atlas, placement)
        return images, classes

    def _sample_labels(self, labels: sitk.Image, atlas: Atlas, placement: sitk.Transform) -> np.ndarray:
        """uint8 (D, H, W) class indices; a structure that does not survive the sampling is named in the log."""
        indices = self._schema.encode(sitk.GetArrayFromImage(labels), atlas.labels)
        classes = sitk.GetImageFromArray(indices)
        classes.CopyInformation(labels)
        sampled = self._grid.sample_labels(classes, placement)
        shown = set(np.unique(indices).tolist())
        self.classes |= shown
        for index in sorted(shown - set(np.unique(sampled).tolist()) - {0}):
            name = self._schema.labels[index - 1].name
            log.warning("%s: %s is too small for the working grid or lies outside it", atlas.labels, name)
        return sampled

    def _sample(self, image: sitk.Image, path: Path) -> tuple[np.ndarray, sitk.Transform]:
        with naming(path):
            placement = self._grid.place(image, self._reference)
        sampled = self._grid.sample_image(image, placement)
        if self._reference is None:
            self._reference = self._reference_of(image, sampled, placement)
        return sampled, placement

    def _reference_of(self, image: sitk.Image, sampled: np.ndarray, placement: sitk.Transform) -> sitk.Image:
        if (self._grid.region, self._grid.alignment) != ("labels", "affine"):
            return self._grid.image(sampled)
        self.overview = Overview.of(self._grid, image, placement)
        return self.overview.image


class _Steps:
    """Counts steps and tells the listener the fraction done before each."""

    def __init__(self, total: int, listener: Progress | None):
        self._done, self._total, self._listener = 0, total, listener

    def __call__(self, message: str) -> None:
        if self._listener is not None:
            self._listener(self._done / self._total, f"{message} ({self._done + 1} of {self._total})")
        self._done += 1


def _geometry(path: Path) -> Geometry:
    """Geometry of a scan from its header alone where that is possible; what is odd is left to `read_image`."""
    if not path.is_file():  # a folder, or a pipe, which would never end
        return Geometry.of(read_image(path))
    check_geometry(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with suppress(InputError), plain_errors(path):
        reader.ReadImageInformation()
        if reader.GetDimension() == 3:
            return Geometry.of(reader)
    return Geometry.of(read_image(path))


def _read_pair(atlas: Atlas) -> Pair:
    image, labels = read_image(atlas.image), read_label_map(atlas.labels)
    check_pair(image, labels, atlas.image, atlas.labels)
    return image, labels


def _check_structures(schema: LabelSchema, drawn: set[int], atlas_labels: np.ndarray, grid: WorkingGrid) -> None:
    """Tells which structures no atlas shows, at all or on the grid; refuses a study of which none is left.

    Args:
        schema: the structures.
        drawn: class indices that the atlases' label maps hold.
        atlas_labels: what is left of them on the working grid.
        grid: the working grid.
    """
    kept = np.unique(atlas_labels)
    names = {index: label.name for index, label in enumerate(schema.labels, 1) if index not in kept}
    if not names:
        return
    edges = " x ".join(f"{edge:.3g}" for edge in grid.spacing)
    nowhere = [name for index, name in names.items() if index not in drawn]
    small = [name for index, name in names.items() if index in drawn]
    problems = [
        f"{', '.join(nowhere)}: drawn in no atlas, so it cannot be learned; draw it, or remove the structure",
        f"{', '.join(small)}: too small for the working grid of {edges} mm in every atlas, so it cannot be learned; for"
        " smaller voxels, set the region to labels with a small region margin, or raise the time limit if any",
    ]
    told = [problem for problem, lost in zip(problems, (nowhere, small)) if lost]
    if len(names) == len(schema.labels):
        raise InputError("; ".join(told))
    for problem in told:
        log.warning("%s", problem)
