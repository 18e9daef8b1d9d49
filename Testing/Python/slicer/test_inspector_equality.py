"""What the inspector shows in Slicer is what training sees, but for interpolation.

The engine generates samples at several alpha and beta; the scene mixes and deforms what it was given once, without
the networks. Tolerances: with the published method, and without style (beta 0), images are equal to 1e-4, as both
interpolate linearly once; else the engine interpolates the style scan once, Slicer twice, which leaves 0.005 on average
on smooth scans. Labels, which Slicer takes from the nearest voxel and the engine from the likeliest class, are equal
wherever all eight voxels around a point have one class; with style in all but 2 % of these.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import torch
import vtk
from tiny_inspection import inspection, write_scan
from tiny_model import tiny_bundle
from vtk.util.numpy_support import vtk_to_numpy

from brbs.inspector import inspect
from brbs.inspector_sample import SamplePath
from brbs.inspector_scans import ScanPlacer
from brbs.model import ModelBundle
from BRBSTrainingLib.InspectorScene import GENERATED, GENERATED_LABELS, TARGET, InspectorScene

OBLIQUE = sitk.VersorTransform((1.0, 2.0, -0.5), 0.4).GetMatrix()
STRENGTH = 0.35  # of the untrained network's output: displacements of a few voxels
SHARES = [(0.0, 0.0), (0.4, 0.0), (1.0, 0.0), (1.5, 0.0), (0.0, 1.0), (0.6, 0.4), (1.0, 0.8), (1.5, 1.0)]


@pytest.fixture(scope="module", params=["published", "full"])
def folder(request, tmp_path_factory) -> Path:
    """A model of that kind of augmentation, a smooth style scan and an oblique space scan."""
    folder = tmp_path_factory.mktemp(request.param)
    bundle = tiny_bundle()
    weights = {name: STRENGTH * value if "out_conv" in name else value for name, value in bundle.registration.items()}
    settings = replace(bundle.settings, augmentation=request.param)
    replace(bundle, registration=weights, settings=settings).save(folder / "model")
    style = write_scan(folder / "style.nrrd", 100)
    sitk.WriteImage(sitk.SmoothingRecursiveGaussian(sitk.ReadImage(str(style)), 4.0), str(style))
    write_scan(folder / "space.nrrd", 101, OBLIQUE)
    return folder


@pytest.fixture(scope="module")
def path(folder) -> SamplePath:
    """The engine's way of making any sample; beside it, the files of one of other shares than those compared."""
    inspect(inspection(folder, folder / "shown", alpha=0.2, beta=0.1))
    bundle = ModelBundle.load(folder / "model")
    placer = ScanPlacer(bundle)
    style, space = (placer.place(folder / name).image for name in ("style.nrrd", "space.nrrd"))
    return SamplePath(bundle, 1, style, space, torch.device("cpu"))


@pytest.fixture
def shown(scene, path, folder) -> InspectorScene:
    shown = InspectorScene()
    shown.load(folder / "shown")
    return shown


@pytest.mark.parametrize(("alpha", "beta"), SHARES)
def test_slicer_shows_what_training_sees(shown, path, folder, alpha, beta) -> None:
    image, classes = (volume[0, 0].numpy() for volume in path.at(alpha, beta))
    shown.setAlpha(alpha)
    shown.setBeta(beta)
    places = sampledPlaces(shown)
    inside = ((places > 0) & (places < np.array(shown.sample.atlas.shape[::-1]) - 1)).all(axis=-1)
    assert inside.mean() > 0.3
    moved = np.abs(places - np.stack(np.indices(inside.shape)[::-1], axis=-1))[inside].max()
    assert moved > 1.5 * alpha - 1e-6  # voxels: there is something to be compared

    once = "published" in folder.name or beta == 0
    difference = np.abs(resliced(shown, GENERATED) - image)[inside]
    if once:
        assert difference.max() < 1e-4
    else:
        assert difference.mean() < 0.005 and difference.max() < 0.1

    equal = resliced(shown, GENERATED_LABELS) == classes
    clear = inside & allAlike(shown, places, inside)
    assert clear.sum() > 200
    assert equal[clear].all() if once else equal[clear].mean() > 0.98


def sampledPlaces(shown: InspectorScene) -> np.ndarray:
    """Where in the generated volume (column, row, slice) each voxel (D, H, W) of the target is taken from."""
    points = vtk.vtkPoints()
    for k, j, i in itertools.product(*map(range, shown.sample.target.shape)):
        points.InsertNextPoint(i, j, k)
    found = vtk.vtkPoints()
    found.SetDataTypeToDouble()
    targetToVolume(shown, GENERATED).TransformPoints(points, found)
    return vtk_to_numpy(found.GetData()).reshape(*shown.sample.target.shape, 3)


def targetToVolume(shown: InspectorScene, role: str) -> vtk.vtkGeneralTransform:
    """From voxels of the target to voxels of a node, by the transforms of the scene, as slice views do."""
    target, node = shown.find(TARGET), shown.find(role)
    toRas, toIjk = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    target.GetIJKToRASMatrix(toRas)
    node.GetRASToIJKMatrix(toIjk)
    fromWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), fromWorld)
    whole = vtk.vtkGeneralTransform()
    whole.PostMultiply()
    for part in (toRas, fromWorld, toIjk):
        whole.Concatenate(part)
    return whole


def resliced(shown: InspectorScene, role: str) -> np.ndarray:
    """A node's voxels on the target's grid (D, H, W): what slice views show."""
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(shown.find(role).GetImageData())
    reslice.SetResliceTransform(targetToVolume(shown, role))
    reslice.SetOutputExtent(shown.find(TARGET).GetImageData().GetExtent())
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    if role == GENERATED_LABELS:
        reslice.SetInterpolationModeToNearestNeighbor()
    else:
        reslice.SetInterpolationModeToLinear()
    reslice.Update()
    return vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars()).reshape(shown.sample.target.shape)


def allAlike(shown: InspectorScene, places: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Whether all eight voxels around each place have one class, bool (D, H, W)."""
    labels = slicer.util.arrayFromVolume(shown.find(GENERATED_LABELS))
    corner = np.where(inside[..., None], np.floor(places).astype(int), 0)[..., ::-1]
    around = [labels[tuple(np.moveaxis(corner + step, -1, 0))] for step in itertools.product((0, 1), repeat=3)]
    return np.ptp(around, axis=0) == 0
