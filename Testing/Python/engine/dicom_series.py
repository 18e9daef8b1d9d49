"""Series of DICOM slices as a scanner might store them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

STUDY = "1.2.3"


def write_series(
    folder: Path,
    planes: Iterable[np.ndarray],
    spacing: Sequence[float] = (0.7, 0.8, 2.0),
    origin: Sequence[float] = (-10, -20, 0),
    series: int = 1,
    tags: Mapping[str, str] | None = None,
) -> list[Path]:
    """Writes int16 arrays (y, x) as slices; file names are in another order than positions, series 1 is first by name.

    Returns:
        The files, in the order of the planes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = (tags or {}).get("0020|000d", STUDY)
    writer, files = sitk.ImageFileWriter(), []
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    for index, plane in enumerate(planes):
        image = sitk.GetImageFromArray(plane.astype(np.int16))
        image.SetSpacing(spacing[:2])
        position = (*origin[:2], origin[2] + index * spacing[2])
        known = {
            "0008|0060": "MR",
            "0008|0018": f"{study}.{series}.{index + 1}",
            "0020|000d": study,
            "0020|000e": f"{study}.{series}",
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(map(str, position)),
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in {**known, **(tags or {})}.items():
            image.SetMetaData(key, value)
        files.append(folder / f"IM{series}{999 - index:03d}")
        writer.SetFileName(str(files[-1]))
        writer.Execute(image)
    return files
