"""What ITK does not say of a NIfTI file: that it ends too early, or that voxels are NaN."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from .image_header import is_nifti, open_nifti


class NiftiState(NamedTuple):
    """Whether all voxels are in the file, and whether the stored ones are finite numbers."""

    complete: bool
    finite: bool


def inspect_nifti(path: Path, reader: sitk.ImageFileReader) -> NiftiState:
    """What ITK does not say of a NIfTI file: it silently reads missing voxels, NaN and infinity as zeros.

    Files of other formats are left to ITK and pass.
    """
    if not is_nifti(path):
        return NiftiState(True, True)
    offset = int(float(reader.GetMetaData("vox_offset")))
    missing = math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix")) // 8
    kind = {"16": "f4", "64": "f8"}.get(reader.GetMetaData("datatype"))
    finite = True
    try:
        with open_nifti(path) as stream:
            order = "<" if int.from_bytes(stream.read(offset)[:4], "little") in (348, 540) else ">"
            while chunk := stream.read(1 << 20):
                if kind and missing > 0:
                    voxels = np.frombuffer(chunk, order + kind, count=min(missing, len(chunk)) // int(kind[1]))
                    finite = finite and bool(np.isfinite(voxels).all())
                missing -= len(chunk)
    except (EOFError, zlib.error, OSError):
        return NiftiState(False, finite)
    return NiftiState(missing <= 0, finite)
