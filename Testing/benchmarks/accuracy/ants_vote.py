"""Majority vote of the atlases that ANTs' SyN registration warps onto each scan (package antspyx)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from brbs.image_files import bare_name, list_images
from brbs.study import Atlas, Study
from brbs.volumes import read_image, read_label_map, write_label_map


def write_votes(study: Study, images: Path, output: Path) -> None:
    """Writes a label map for each scan in a folder; those that are there are kept.

    Args:
        study: its atlases vote.
        images: folder of the scans.
        output: folder of the label maps.
    """
    for path in list_images(images):
        target = output / f"{bare_name(path)}.nii.gz"
        if target.is_file():
            continue
        scan = read_image(path)
        with tempfile.TemporaryDirectory() as folder:
            votes = [warped_labels(atlas, scan, Path(folder)) for atlas in study.atlases]
        winner = sitk.GetImageFromArray(majority([sitk.GetArrayFromImage(vote) for vote in votes]))
        winner.CopyInformation(scan)
        write_label_map(winner, target, study.schema.meta)


def majority(votes: list[np.ndarray]) -> np.ndarray:
    """The value that most label maps have at each voxel; of equally frequent ones the lowest."""
    values = np.unique(votes)
    counts = np.stack([np.sum([vote == value for vote in votes], axis=0) for value in values])
    return values[counts.argmax(0)]


def warped_labels(atlas: Atlas, scan: sitk.Image, folder: Path) -> sitk.Image:
    """The atlas's label map on the scan, by SyN with ANTs' default settings.

    Args:
        atlas: moving.
        scan: fixed.
        folder: for files on the way.
    """
    import ants

    fixed = _ants(sitk.Cast(scan, sitk.sitkFloat32), folder / "fixed.nii.gz")
    moving = _ants(sitk.Cast(read_image(atlas.image), sitk.sitkFloat32), folder / "moving.nii.gz")
    labels = _ants(sitk.Cast(read_label_map(atlas.labels), sitk.sitkFloat32), folder / "labels.nii.gz")
    transforms = ants.registration(fixed, moving, "SyN", outprefix=str(folder / "transform"), random_seed=1)
    warped = ants.apply_transforms(fixed, labels, transforms["fwdtransforms"], interpolator="genericLabel")
    ants.image_write(warped, str(folder / "warped.nii.gz"))
    return sitk.Cast(sitk.ReadImage(str(folder / "warped.nii.gz")), sitk.sitkUInt16)


def _ants(image: sitk.Image, path: Path):
    import ants

    sitk.WriteImage(image, str(path))
    return ants.image_read(str(path))
