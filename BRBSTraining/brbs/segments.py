"""The segments of 3D Slicer's segmentation files (.seg.nrrd): header fields to structures and back.

They are read and written through SimpleITK's metadata and not through slicerio, because slicerio refuses to write,
and drops on reading, every character of a name that is not ASCII.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from .errors import InputError

#: Value, name, colour (red, green, blue in 0..1) and terminology of one structure.
LabelMeta = tuple[int, str, tuple[float, float, float], str]

INTEGER_TYPES = {
    np.uint8: sitk.sitkUInt8,
    np.int8: sitk.sitkInt8,
    np.uint16: sitk.sitkUInt16,
    np.int16: sitk.sitkInt16,
    np.uint32: sitk.sitkUInt32,
    np.int32: sitk.sitkInt32,
    np.int64: sitk.sitkInt64,
}


def smallest_type(lowest: int, highest: int) -> type[np.integer]:
    """The smallest integer type that holds both numbers, unsigned where neither is negative."""
    return next(kind for kind in INTEGER_TYPES if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max)


def default_label(value: int) -> LabelMeta:
    """Name and colour for a structure of which nothing is known: ``Label 3``, hues spread by the golden ratio."""
    colour = colorsys.hsv_to_rgb(value * 0.618033988749895 % 1.0, 0.65, 0.95)
    return value, f"Label {value}", tuple(round(part, 3) for part in colour), ""


class Segment(NamedTuple):
    """Where a segment's voxels are in the file (value within a layer) and what it is."""

    stored_value: int
    layer: int
    meta: LabelMeta


def read_segments(image: sitk.Image | sitk.ImageFileReader, path: Path) -> list[Segment]:
    """Segments named in the header, in their order there.

    Args:
        image: with its header; voxels are not asked for.
        path: where it was read, for messages.

    Raises:
        InputError: the segmentation is fractional, or numbers in the header are none.
    """
    keys = (key for key in image.GetMetaDataKeys() if key.startswith("Segment") and key.isascii())
    header = {key: _text(image.GetMetaData(key)) for key in keys}
    if "Fractional" in header.get("Segmentation_MasterRepresentation", ""):
        raise InputError(f"{path}: is a fractional segmentation; convert it to a binary label map in 3D Slicer")
    indices = sorted({int(found[1]) for key in header if (found := re.match(r"Segment(\d+)_", key))})
    fields = [{key.partition("_")[2]: header[key] for key in header if key.startswith(f"Segment{i}_")} for i in indices]
    try:
        stored = [(int(entry.get("LabelValue", 1)), int(entry.get("Layer", 0))) for entry in fields]
        if all("LabelValue" not in entry and "Layer" not in entry for entry in fields):
            stored = [(1, layer) for layer in range(len(fields))]  # before Slicer 4.11: a layer each
        values = _distinct([value for value, _ in stored])
        return [
            Segment(*place, _segment_meta(entry, value))
            for place, entry, value in zip(stored, fields, values, strict=True)
        ]
    except ValueError as error:
        raise InputError(f"{path}: its segments cannot be read ({error}); save it again from 3D Slicer") from error


def _segment_meta(entry: dict[str, str], value: int) -> LabelMeta:
    _, name, colour, _ = default_label(value)
    tags = (tag.strip().partition(":") for tag in entry.get("Tags", "").split("|"))
    terminology = next((content for key, _, content in tags if key == "TerminologyEntry"), "")
    if "Color" in entry:
        red, green, blue = map(float, entry["Color"].split())
        colour = (red, green, blue)
    return value, entry.get("Name", "").strip() or name, colour, terminology


def _distinct(values: Sequence[int]) -> list[int]:
    """The values with each repetition replaced by the next number above all."""
    result: list[int] = []
    free = max(values, default=0) + 1
    for value in values:
        if value in result:
            value, free = free, free + 1
        result.append(value)
    return result


def merge_segments(array: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """One label map (D, H, W) from layers (D, H, W) or (D, H, W, layers)."""
    layers = array if array.ndim == 4 else array[..., np.newaxis]
    values = [segment.meta[0] for segment in segments]
    merged = np.zeros(layers.shape[:3], smallest_type(min(0, *values), max(0, *values)))
    for segment in segments:
        if segment.layer < layers.shape[3]:
            merged[layers[..., segment.layer] == segment.stored_value] = segment.meta[0]
    return merged


def _text(value: str) -> str:
    """Header text with undecodable bytes (SimpleITK gives them as surrogates) made printable."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def describe_segments(labels: sitk.Image, metas: Sequence[LabelMeta]) -> None:
    """Puts the header fields of 3D Slicer's segmentation format into the image's metadata."""
    extent = " ".join(f"0 {size - 1}" for size in labels.GetSize())
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for index, (value, name, colour, terminology) in enumerate(metas):
        fields |= {
            f"Segment{index}_ID": f"Segment_{value}",
            f"Segment{index}_Name": name,
            f"Segment{index}_NameAutoGenerated": "0",
            f"Segment{index}_Color": " ".join(f"{part:.6g}" for part in colour),
            f"Segment{index}_ColorAutoGenerated": "0",
            f"Segment{index}_LabelValue": str(value),
            f"Segment{index}_Layer": "0",
            f"Segment{index}_Extent": extent,
            f"Segment{index}_Tags": f"TerminologyEntry:{terminology}|" if terminology else "|",
        }
    for key, text in fields.items():
        labels.SetMetaData(key, text)
