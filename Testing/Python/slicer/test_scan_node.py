"""Scans of a study come into the scene once, DICOM folders too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from dicom_series import write_series

from brbs.errors import InputError
from BRBSTrainingLib.Annotation import scanNode

ARRAY = np.random.default_rng(0).integers(0, 1000, (6, 8, 10)).astype(np.int16)


@pytest.fixture
def folder(scene, tmp_path: Path) -> Path:
    """A short and a long series, among files that are no slices."""
    folder = tmp_path / "Serie für alle"
    write_series(folder, ARRAY[:2], series=1)
    write_series(folder, ARRAY, series=2)
    for name in (".DS_Store", "DICOMDIR", "LOCKFILE"):
        (folder / name).write_bytes(b"no slice")
    return folder


def test_dicom_folder_gives_the_series_that_the_engine_takes(folder: Path) -> None:
    assert slicer.util.arrayFromVolume(scanNode(folder)).shape == ARRAY.shape


def test_dicom_folder_in_the_scene_is_taken_again(folder: Path) -> None:
    assert scanNode(folder) is scanNode(folder)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_other_series_of_the_folder_is_another_scan(folder: Path) -> None:
    other = slicer.util.loadVolume(str(folder / "IM1999"))
    assert scanNode(folder) is not other


def test_dicom_folder_without_a_series_is_told(scene, tmp_path: Path) -> None:
    (tmp_path / "IM1").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match="no DICOM series"):
        scanNode(tmp_path)


def test_file_that_is_gone_is_told_unless_the_scene_has_it(scene, tmp_path: Path) -> None:
    path = tmp_path / "Schädel.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    node = scanNode(path)
    path.unlink()
    assert scanNode(path) is node
    slicer.mrmlScene.RemoveNode(node)
    with pytest.raises(InputError, match="no such file"):
        scanNode(path)
