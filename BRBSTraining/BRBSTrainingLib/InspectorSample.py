"""One generated sample as the engine has written it: all that a viewer needs to mix it anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from slicer.i18n import tr as _

from brbs import inspector_files as files
from brbs.errors import InputError
from brbs.files import read_json
from brbs.label_schema import Label, LabelSchema
from brbs.volumes import read_label_map, read_label_schema

from .WorldImage import imageToRas


@dataclass(frozen=True)
class InspectorSample:
    """What ``brbs warp`` has written; volumes are (D, H, W) on one grid.

    Attributes:
        schema: the structures; class i + 1 is ``schema.labels[i]``, class 0 the background.
        ijkToRas: (4, 4) from voxels (column, row, slice) to scene coordinates.
        atlas: the atlas, float32 in [0, 1].
        atlasLabels: its classes, uint8.
        styleDifference: what beta adds to the atlas, float32.
        styleLabels: the class that a voxel goes over to when beta grows, uint8.
        styleSwitch: the beta above which it does; more than 1 where it never does.
        target: the scan whose shape is taken.
        jacobian: determinant of the whole deformation.
        displacement: file of the whole deformation as a transform.
        figures: measures of the registration, the drawn samples, notes; see ``brbs.inspector``.
    """

    schema: LabelSchema
    ijkToRas: np.ndarray
    atlas: np.ndarray
    atlasLabels: np.ndarray
    styleDifference: np.ndarray
    styleLabels: np.ndarray
    styleSwitch: np.ndarray
    target: np.ndarray
    jacobian: np.ndarray
    displacement: Path
    figures: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> InspectorSample:
        """Reads the folder that ``brbs warp`` has written.

        Raises:
            InputError: a file is missing or damaged.
        """
        folder = Path(folder)
        schema = LabelSchema(tuple(Label(*meta) for meta in read_label_schema(folder / files.ATLAS_LABELS) or ()))
        atlas = _read(folder / files.ATLAS)

        def image(name: str) -> np.ndarray:
            return sitk.GetArrayFromImage(_read(folder / name))

        def classes(name: str) -> np.ndarray:
            labels = read_label_map(folder / name, allow_empty=True)
            return schema.encode(sitk.GetArrayViewFromImage(labels), folder / name)

        return cls(
            schema=schema,
            ijkToRas=imageToRas(atlas),
            atlas=image(files.ATLAS),
            atlasLabels=classes(files.ATLAS_LABELS),
            styleDifference=image(files.STYLE_DIFFERENCE),
            styleLabels=classes(files.STYLE_LABELS),
            styleSwitch=image(files.STYLE_SWITCH),
            target=image(files.SPACE),
            jacobian=image(files.JACOBIAN),
            displacement=_existing(folder / files.DISPLACEMENT),
            figures=read_json(folder / files.FIGURES),
        )

    def mixImage(self, beta: float, out: np.ndarray) -> None:
        """Writes the atlas with a share of the style change, before it is deformed, into ``out`` (D, H, W)."""
        np.multiply(self.styleDifference, np.float32(beta), out=out)
        out += self.atlas

    def mixLabels(self, beta: float, out: np.ndarray) -> None:
        """Writes the classes that go with :meth:`mixImage` into ``out`` (D, H, W)."""
        np.copyto(out, self.atlasLabels)
        np.copyto(out, self.styleLabels, where=self.styleSwitch < beta)


def _read(path: Path) -> sitk.Image:
    """An image of any content, also of one value, as float32."""
    try:
        return sitk.ReadImage(str(_existing(path)), sitk.sitkFloat32)
    except RuntimeError as error:
        raise InputError(_("{path}: cannot be read; generate again").format(path=path)) from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(_("{path}: no such file; generate again").format(path=path))
    return path
