"""A segmentation of the scene as a label map on the grid of its scan."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from brbs.errors import InputError
from brbs.label_schema import Label, LabelSchema
from brbs.segments import smallest_type
from brbs.volumes import write_label_map

from .VolumeExport import checkVolume
from .WorldImage import resampled, toArray, toSimpleITK, worldGrid, worldTransform


def exportSegmentation(segmentationNode, volumeNode, schema: LabelSchema, path: str | Path) -> LabelSchema:
    """Writes all segments, hidden ones too, as a label map on the grid on which the volume is exported.

    Both are taken from where the scene shows them, under whatever transforms; segments of any representation. Where
    segments overlap, the later one wins. A segment has the value of the structure of its name (upper and lower case
    alike); segments of other names get the next free values. Nodes and scene stay as they are.

    Args:
        segmentationNode: the segments.
        volumeNode: the scan that they belong to.
        schema: the structures of the study.
        path: where to, .seg.nrrd.

    Returns:
        The structures, with those that were not among them before.

    Raises:
        InputError: the volume is no scan, there is nothing drawn or nothing within the scan, or the file cannot be
            written.
    """
    checkVolume(volumeNode)
    grid = worldGrid(volumeNode)
    indices = _segmentIndices(segmentationNode, grid)
    present = np.flatnonzero(np.bincount(indices.ravel())[1:])
    if len(present) == 0:
        _refuseEmpty(segmentationNode, volumeNode)
    segments = _segments(segmentationNode)
    schema, values = _withSegments(schema, [segments[index] for index in present])
    table = np.zeros(len(segments) + 1, smallest_type(min(0, *values), max(values)))
    table[present + 1] = values
    write_label_map(toSimpleITK(table[indices], grid), path, schema.meta)
    return schema


def _segments(segmentationNode) -> list:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]


def _withSegments(schema: LabelSchema, segments: list) -> tuple[LabelSchema, list[int]]:
    """The structures with those of the segments added, and the value of each segment."""
    labels = list(schema.labels)
    values = {label.name.casefold(): label.value for label in reversed(labels)}
    for segment in segments:
        if _name(segment).casefold() not in values:
            free = max([0, *(label.value for label in labels)]) + 1
            labels.append(Label(free, _name(segment), tuple(segment.GetColor()), _terminology(segment)))
            values[_name(segment).casefold()] = free
    return LabelSchema(tuple(labels)), [values[_name(segment).casefold()] for segment in segments]


def _name(segment) -> str:
    return (segment.GetName() or "").strip() or _("Unnamed")


def _terminology(segment) -> str:
    text = vtk.reference("")
    segment.GetTag(segment.GetTerminologyEntryTagName(), text)
    return text.get()


def _segmentIndices(segmentationNode, grid) -> np.ndarray:
    """Which segment each voxel of the grid belongs to, counted from 1; 0: none."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation, transform = segmentationNode.GetSegmentation(), worldTransform(segmentationNode)
    if segmentation.GetSourceRepresentationName() != name:
        segmentation, transform = _rasterized(segmentationNode, grid, name), vtk.vtkGeneralTransform()
    count = segmentation.GetNumberOfSegments()
    indices = np.zeros(grid.GetDimensions()[::-1], smallest_type(0, count))
    source, layer = None, None
    for index in range(count):
        segment = segmentation.GetNthSegment(index)
        image = segment.GetRepresentation(name)
        if image is None or image.IsEmpty():
            continue
        if image is not source:  # segments that do not overlap share an image
            source, layer = image, toArray(resampled(image, grid, transform, linear=False))
        indices[layer == segment.GetLabelValue()] = index + 1
    return indices


def _rasterized(segmentationNode, grid, name: str):
    """A copy of a segmentation of surfaces or contours, in scene coordinates, with label maps on the grid."""
    original, copy = segmentationNode.GetSegmentation(), slicer.vtkSegmentation()
    copy.SetSourceRepresentationName(original.GetSourceRepresentationName())
    copy.CopyConversionParameters(original)
    for segmentId in original.GetSegmentIDs():
        copy.CopySegmentFromSegmentation(original, segmentId)
    copy.ApplyNonLinearTransform(worldTransform(segmentationNode))
    converter = slicer.vtkSegmentationConverter
    copy.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(grid)
    )
    if copy.GetNumberOfSegments() and not copy.CreateRepresentation(name, True):
        text = _("{name}: cannot be converted to a label map; convert it in the Segmentations module first")
        raise InputError(text.format(name=segmentationNode.GetName()))
    return copy


def _refuseEmpty(segmentationNode, volumeNode) -> NoReturn:
    source = segmentationNode.GetSegmentation().GetSourceRepresentationName()
    if any(_isDrawn(segment, source) for segment in _segments(segmentationNode)):
        text = _("{name}: lies nowhere within {volume}; choose the scan that it was drawn on")
    else:
        text = _("{name}: nothing is drawn in it; draw at least one structure in the Segment Editor")
    raise InputError(text.format(name=segmentationNode.GetName(), volume=volumeNode.GetName()))


def _isDrawn(segment, source: str) -> bool:
    data = segment.GetRepresentation(source)
    if data is None or data.GetNumberOfPoints() == 0:
        return False
    return not data.IsA("vtkOrientedImageData") or bool((toArray(data) == segment.GetLabelValue()).any())
