"""Reading, checking and writing one volume: a scan or a label map."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import SimpleITK as sitk

from .dicom_slices import check_slices, series_files
from .errors import InputError, memory_was_short
from .files import replacing
from .image_files import IMAGE_SUFFIXES, check_writable_suffix, image_suffix
from .image_header import check_geometry, check_size, is_nifti, is_whole, voxel_bytes
from .label_schema import LARGEST_LABEL
from .nifti import inspect_nifti
from .segments import (
    INTEGER_TYPES,
    LabelMeta,
    default_label,
    describe_segments,
    merge_segments,
    read_segments,
    smallest_type,
)

_READERS = dict.fromkeys(IMAGE_SUFFIXES, "NrrdImageIO") | dict.fromkeys((".nii", ".nii.gz"), "NiftiImageIO")
_READERS |= dict.fromkeys((".mha", ".mhd"), "MetaImageIO")  # ITK's; it looks at contents, whatever the name

LARGEST_VALUE = 1e30  # of scans, either sign; differences of larger ones are no float32
LEAST_EDGE, LARGEST_EDGE = 1e-6, 1e4  # of a voxel, mm; ITK smooths nothing finer
LEAST_COSINE = 1e-12  # of a direction; less is none
FARTHEST = 1e7  # mm from the origin; with numbers that are much larger, ITK resamples for ever
_WRITING_FAILED = "writing stopped before the end"

log = logging.getLogger("brbs")


# Reading


def read_image(path: str | Path) -> sitk.Image:
    """Reads a scan (file or DICOM series folder) as 3-D float32.

    Raises:
        InputError: missing, damaged or truncated file; not 3-D; several components a voxel; an axis with one voxel;
            voxels that are NaN, infinite or beyond all measures; the same value everywhere.
    """
    path = Path(path)
    image = _load(path, sitk.sitkFloat32)
    if min(image.GetSize()) < 2:
        raise InputError(f"{path}: is only one voxel thick ({_size(image)} voxels); a 3-D scan is needed")
    voxels = sitk.GetArrayViewFromImage(image)
    lowest, highest = float(voxels.min()), float(voxels.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        _refuse_not_finite(path)
    if max(-lowest, highest) > LARGEST_VALUE:
        raise InputError(f"{path}: has voxels of {lowest:g} to {highest:g}, which no scan has; export it again")
    if lowest == highest:
        raise InputError(f"{path}: every voxel has the same value ({lowest:g}); is this the right scan?")
    return image


def read_label_map(path: str | Path, allow_empty: bool = False) -> sitk.Image:
    """Reads a label map as 3-D image of the smallest integer type that holds its values.

    The segments of a .seg.nrrd keep their label values; where they overlap, the later one wins. Segments of
    different layers with the same value are told apart as :func:`read_label_schema` says.

    Args:
        path: the file.
        allow_empty: accept a map with background only (results may be so, atlases may not).

    Raises:
        InputError: missing, damaged or truncated file; not 3-D; several components a voxel; values that are not
            integers; background only.
    """
    path = Path(path)
    segmented = image_suffix(path).lower() == ".seg.nrrd"
    image = _load(path, components=segmented)
    segments = read_segments(image, path) if segmented else []
    if segments:
        array = merge_segments(sitk.GetArrayViewFromImage(image), segments)
    elif image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{path}: has several layers but names no segments; save it again from 3D Slicer")
    else:
        array = _integers(sitk.GetArrayViewFromImage(image), path)
    if not allow_empty and not array.any():
        raise InputError(f"{path}: holds background only; a label map needs at least one voxel that is not 0")
    labels = sitk.GetImageFromArray(array.astype(smallest_type(int(array.min()), int(array.max())), copy=False))
    labels.SetOrigin(image.GetOrigin())
    labels.SetSpacing(image.GetSpacing())
    labels.SetDirection(image.GetDirection())
    return labels


def read_label_schema(path: str | Path) -> list[LabelMeta] | None:
    """Value, name, colour and terminology of the segments of a .seg.nrrd, in file order; ``None`` for other files.

    Values are those of the file. Where two layers use the same value, the first segment keeps it and each later one
    gets the next number above all values of the file.

    Raises:
        InputError: missing or damaged file.
    """
    path = Path(path)
    if image_suffix(path).lower() != ".seg.nrrd":
        return None
    return [segment.meta for segment in read_segments(_open(path), path)] or None


def label_values(labels: sitk.Image) -> tuple[int, ...]:
    """The values of a label map in rising order, background left out."""
    array = sitk.GetArrayViewFromImage(labels)
    small = array.dtype in (np.uint8, np.uint16)
    found = np.flatnonzero(np.bincount(array.ravel())) if small else np.unique(array)
    return tuple(int(value) for value in found if value != 0)


def _load(path: Path, pixel_type: int = sitk.sitkUnknown, components: bool = False) -> sitk.Image:
    """Reads a whole file or DICOM folder; several components a voxel only if ``components``."""
    if path.is_dir():
        image = _read_dicom(path, pixel_type)
    else:
        reader = _open(path)
        if reader.GetDimension() != 3:
            size = " x ".join(map(str, reader.GetSize()))
            raise InputError(f"{path}: is {reader.GetDimension()}-D ({size}); give one 3-D volume a file")
        if reader.GetNumberOfComponents() > 1 and not components:
            _refuse_components(path, reader.GetNumberOfComponents())
        check_size(path, reader)
        state = inspect_nifti(path, reader)
        if not state.complete:
            raise InputError(f"{path}: is truncated or damaged; copy or download it again")
        if not state.finite:
            _refuse_not_finite(path)
        reader.SetOutputPixelType(pixel_type)
        with plain_errors(path):
            image = reader.Execute()
    _refuse_odd_geometry(image, path)
    # What is left of rounding; of a matrix that holds numbers such as 1e-320, ITK's inverse is not a number.
    image.SetDirection([0.0 if abs(cosine) < LEAST_COSINE else cosine for cosine in image.GetDirection()])
    return image


def _refuse_odd_geometry(image: sitk.Image, path: Path) -> None:
    if not all(LEAST_EDGE <= edge <= LARGEST_EDGE for edge in image.GetSpacing()):
        edges = " x ".join(f"{edge:g}" for edge in image.GetSpacing())
        raise InputError(f"{path}: has voxels of {edges} mm, which no scan has; export it again with the true spacing")
    if max(map(abs, image.GetOrigin())) > FARTHEST:
        raise InputError(f"{path}: lies at {_numbers(image.GetOrigin())} mm, where no scan is; export it again")


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Silences ITK's warnings and turns its exceptions into :class:`InputError`."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    except RuntimeError as error:
        if memory_was_short(error):
            reason = "cannot be read, as this computer's memory is too small; close other programs, or crop it"
        elif "orthonormal" in str(error):
            reason = "has axes that are not perpendicular; resample it onto a regular grid first"
        elif path.is_dir():
            reason = "cannot be read as one DICOM series (damaged files or slices of different sizes)"
        else:
            reason = "cannot be read as an image (damaged, truncated or of another format); copy or export it again"
        raise InputError(f"{path}: {reason}") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _open(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the header."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():  # of a pipe, nobody knows when it ends
        raise InputError(f"{path}: is not a file; give an image file or a folder of DICOM slices")
    check_geometry(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with plain_errors(path):
        if _READERS.get(image_suffix(path).lower()) not in (None, reader.GetImageIOFromFileName(str(path))):
            raise RuntimeError("another format than its name says")
        reader.ReadImageInformation()
    return reader


def _refuse_not_finite(path: Path) -> NoReturn:
    raise InputError(f"{path}: has NaN or infinite voxels; replace them by finite numbers")


def _refuse_components(path: Path, count: int) -> NoReturn:
    raise InputError(f"{path}: has {count} components a voxel (colour or vectors); give one number a voxel")


def _read_dicom(folder: Path, pixel_type: int) -> sitk.Image:
    with plain_errors(folder):
        series = series_files(folder)
        if not series:
            raise InputError(f"{folder}: holds no DICOM series; give an image file or a folder of DICOM slices")
        slices = series[0]
        if len(series) > 1:
            log.warning("%s: %d DICOM series, the one with most slices (%d) is used", folder, len(series), len(slices))
        check_slices(slices)
        if len(slices) == 1:
            image = sitk.ReadImage(slices[0], pixel_type)
        else:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(slices)
            reader.SetOutputPixelType(pixel_type)
            reader.MetaDataDictionaryArrayUpdateOn()
            image = reader.Execute()
            if image.HasMetaDataKey("ITK_non_uniform_sampling_deviation"):
                _refuse_gaps([reader.GetMetaData(index, "0020|0032") for index in range(len(slices))], folder)
    if image.GetDimension() != 3:
        raise InputError(f"{folder}: is {image.GetDimension()}-D; give one 3-D series a folder")
    if image.GetNumberOfComponentsPerPixel() > 1:
        _refuse_components(folder, image.GetNumberOfComponentsPerPixel())
    return image


def _refuse_gaps(positions: Sequence[str], folder: Path) -> None:
    """ITK spreads slices evenly whatever their positions (DICOM's "x\\y\\z" in mm)."""
    try:
        places = np.array([position.split("\\") for position in positions], dtype=float)
    except ValueError:
        raise InputError(f"{folder}: the position of a slice is no number; export the series again") from None
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    deviation = np.abs(steps - np.median(steps)).max()
    if deviation > 0.1 * np.median(steps):
        raise InputError(
            f"{folder}: slices are missing, repeated or unevenly spaced (by up to {deviation:.3g} mm); "
            "complete the series or resample it onto a regular grid"
        )


def _integers(array: np.ndarray, path: Path) -> np.ndarray:
    """The same values as integers; refuses others."""
    if np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint64:
        return array
    if not (np.isfinite(array).all() and np.abs(array).max() <= LARGEST_LABEL and (array == np.rint(array)).all()):
        raise InputError(f"{path}: is not a label map: it has values that are not whole numbers")
    return array.astype(np.int64)


# Pairs


def check_pair(
    image: sitk.Image, labels: sitk.Image, image_path: str | Path = "image", labels_path: str | Path = "labels"
) -> None:
    """Checks that a scan and its label map lie on the same grid.

    Tolerances: spacing 0.1 %, direction cosines 0.001, origin a hundredth of a voxel.

    Args:
        image, labels: the scan and its label map.
        image_path, labels_path: what they are called in messages.

    Raises:
        InputError: size, spacing, direction or origin differ; says which, with both values.
    """
    spacing = np.asarray(image.GetSpacing())
    checks = (
        ("size", image.GetSize(), labels.GetSize(), 0.0, "voxels"),
        ("spacing", image.GetSpacing(), labels.GetSpacing(), 1e-3 * spacing, "mm"),
        ("direction", image.GetDirection(), labels.GetDirection(), 1e-3, "direction cosines"),
        ("origin", image.GetOrigin(), labels.GetOrigin(), 1e-2 * spacing.min(), "mm"),
    )
    for what, expected, found, tolerance, unit in checks:
        if np.any(np.abs(np.subtract(expected, found)) > tolerance):
            raise InputError(
                f"{labels_path}: {what} {_numbers(found)} differs from {_numbers(expected)} ({unit}) of {image_path}; "
                "resample the label map onto the grid of its image"
            )


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _size(image: sitk.Image) -> str:
    return " x ".join(map(str, image.GetSize()))


# Writing


def write_image(image: sitk.Image, path: str | Path, compress: bool = True) -> None:
    """Writes an image in the format of the suffix; an existing file is replaced only when all went well.

    Args:
        image: 3-D.
        path: where to; see :data:`brbs.image_files.WRITABLE_SUFFIXES`.
        compress: smaller files, which take many times as long.

    Raises:
        InputError: unknown suffix, or the file cannot be written (partial files are removed).
    """
    path = Path(path)
    check_writable_suffix(path)
    with replacing(path) as temporary:
        try:
            with plain_errors(temporary):
                sitk.WriteImage(image, str(temporary), compress)
                _refuse_torn(temporary)
        except InputError as error:
            raise OSError(_WRITING_FAILED) from error


def _refuse_torn(path: Path) -> None:
    """Reads back what was written: ITK is silent about a disk that gets full at the very end."""
    reader = _open(path)
    if not (inspect_nifti(path, reader).complete and (is_nifti(path) or is_whole(path, voxel_bytes(reader)))):
        raise InputError(_WRITING_FAILED)


def write_label_map(labels: sitk.Image, path: str | Path, labels_meta: Sequence[LabelMeta] = ()) -> None:
    """Writes a label map in the format of the suffix, with the smallest integer type that holds its values.

    A .seg.nrrd gets a segment for every entry of ``labels_meta``, with name, colour and terminology, and one with a
    default name for every other value found.

    Args:
        labels: 3-D image of an integer type.
        path: where to; see :data:`brbs.image_files.WRITABLE_SUFFIXES`.
        labels_meta: value, name, colour and terminology of the structures.

    Raises:
        InputError: unknown suffix, or the file cannot be written (partial files are removed).
    """
    suffix = check_writable_suffix(path)
    present = label_values(labels)
    values = [0, *present, *(meta[0] for meta in labels_meta)]
    labels = sitk.Cast(labels, INTEGER_TYPES[smallest_type(min(values), max(values))])
    for key in labels.GetMetaDataKeys():
        labels.EraseMetaData(key)
    if suffix == ".seg.nrrd":
        named = {meta[0] for meta in labels_meta}
        describe_segments(labels, [*labels_meta, *(default_label(v) for v in present if v not in named)])
    write_image(labels, path)
