"""A generated sample as nodes of the scene, which follow alpha and beta at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from brbs.errors import InputError

from .InspectorColours import styleJacobianColours, styleMagnitudeColours, styleStructureColours
from .InspectorSample import InspectorSample
from .SceneScans import INSPECTOR as ATTRIBUTE  # by which the nodes are found again; its value is the node's role

GENERATED, GENERATED_LABELS = "generated", "generated labels"
ATLAS, ATLAS_LABELS, TARGET, BOARD = "atlas", "atlas labels", "target", "target checkerboard"
DISPLACEMENT, MAGNITUDE, JACOBIAN = "displacement", "displacement magnitude", "Jacobian determinant"
IMAGES, LABELS = (ATLAS, GENERATED, TARGET, BOARD, JACOBIAN), (ATLAS_LABELS, GENERATED_LABELS)
FIELDS = 8  # of the checkerboard along the longest axis
GRID_LINES = 20  # of the displayed grid along the longest axis
VOLUME, LABEL_MAP, COLOURS = "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode", "vtkMRMLColorTableNode"
TRANSFORM = "vtkMRMLGridTransformNode"


class InspectorScene:
    """One set of nodes, used again for the next sample; made again where the user has deleted some.

    The generated volume and its labels are those of the atlas, mixed with the style (beta), under a grid transform
    from their parent whose displacement scale is alpha: Slicer deforms them while it draws. Label volumes hold
    classes: 0 is the background, i + 1 the i-th structure. No node is saved with the scene.

    Attributes:
        sample: what is shown; None: nothing yet.
    """

    def __init__(self) -> None:
        self.sample: InspectorSample | None = None
        self._beta = 0.0
        self._alpha = 0.0
        self._grid = None

    def load(self, folder: str | Path, alpha: float = 1.0, beta: float = 1.0) -> None:
        """Shows what ``brbs warp`` has written; the folder is not needed afterwards.

        Raises:
            InputError: a file is missing or damaged.
        """
        sample = InspectorSample.read(folder)
        self._grid = _readGrid(sample.displacement)
        self.sample, self._alpha, self._beta = sample, alpha, beta
        self._fill()

    # ---- mixing

    @property
    def alpha(self) -> float:
        """Share of the deformation that is shown, also while a path is played."""
        node = self.find(DISPLACEMENT)
        return node.GetTransformFromParent().GetDisplacementScale() if node else self._alpha

    @property
    def beta(self) -> float:
        """Share of the style change that is shown."""
        return self._beta

    def setAlpha(self, alpha: float) -> None:
        """Sets the share of the deformation; 1 is the whole, more goes beyond."""
        self._alpha = alpha
        if not self._complete():
            return
        grid = self.find(DISPLACEMENT).GetTransformFromParent()
        if grid.GetDisplacementScale() != alpha:
            grid.SetDisplacementScale(alpha)

    def setBeta(self, beta: float) -> None:
        """Sets the share of the style change, 0 to 1."""
        changed, self._beta = beta != self._beta, beta
        if self._complete() and changed:
            self._mix()

    def _mix(self) -> None:
        image, labels = self.find(GENERATED), self.find(GENERATED_LABELS)
        self.sample.mixImage(self._beta, slicer.util.arrayFromVolume(image))
        self.sample.mixLabels(self._beta, slicer.util.arrayFromVolume(labels))
        for node in (image, labels):
            slicer.util.arrayFromVolumeModified(node)

    def showField(self, grid: bool, arrows: bool) -> None:
        """Draws the displacement in the slice views as a bent grid, as arrows, or both."""
        node = self.find(DISPLACEMENT)
        for index, shown in enumerate((grid, arrows)) if node else ():
            node.GetNthDisplayNode(index).SetVisibility(shown)

    def limitField(self, viewIds: Sequence[str]) -> None:
        """Draws the displacement in these slice views only, by node ID; none: in all. Each costs time while sliding."""
        node = self.find(DISPLACEMENT)
        for index in range(node.GetNumberOfDisplayNodes() if node else 0):
            node.GetNthDisplayNode(index).SetViewNodeIDs(viewIds)

    # ---- nodes

    def find(self, role: str):
        """The node of a role, one of this file's constants; None: there is none."""
        nodes = slicer.util.getNodesByClass(_className(role))
        return next((node for node in nodes if node.GetAttribute(ATTRIBUTE) == role), None)

    def remove(self) -> None:
        """Removes all nodes and forgets the sample."""
        self.sample = self._grid = None
        for node in slicer.util.getNodesByClass("vtkMRMLNode"):
            if node.GetAttribute(ATTRIBUTE):
                slicer.mrmlScene.RemoveNode(node)

    def _complete(self) -> bool:
        """Makes nodes again that the user has deleted; false where there is nothing to show."""
        if self.sample is None:
            return False
        if not all(map(self.find, (*IMAGES, *LABELS, MAGNITUDE, DISPLACEMENT))):
            self._fill()
        return True

    def _fill(self) -> None:
        """Writes the sample into its nodes."""
        sample = self.sample
        styleStructureColours(self._node(f"{ATLAS_LABELS} colours"), sample.schema)
        board = np.where(_checkerboard(sample.target.shape), sample.target, np.float32(-1))
        images = (sample.atlas, sample.atlas, sample.target, board, sample.jacobian)
        for role, array in zip(IMAGES, images, strict=True):
            self._volume(role, array, sample.ijkToRas)
        for role in LABELS:
            self._volume(role, sample.atlasLabels, sample.ijkToRas)
        self._volume(MAGNITUDE, *_magnitude(self._grid))
        self._mix()
        transform = self._node(DISPLACEMENT)
        self._grid.SetDisplacementScale(self._alpha)
        transform.SetAndObserveTransformFromParent(self._grid)
        for index in range(transform.GetNumberOfDisplayNodes()):
            _fitSpacing(transform.GetNthDisplayNode(index), self._grid)
        for role in (GENERATED, GENERATED_LABELS):
            self.find(role).SetAndObserveTransformNodeID(transform.GetID())

    def _volume(self, role: str, array: np.ndarray, ijkToRas: np.ndarray) -> None:
        node = self._node(role)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijkToRas))
        slicer.util.updateVolumeFromArray(node, array)

    def _node(self, role: str):
        node = self.find(role)
        if node is None:
            for orphan in slicer.util.getNodesByClass("vtkMRMLDisplayNode"):
                if orphan.GetAttribute(ATTRIBUTE) == _displayRole(role):
                    slicer.mrmlScene.RemoveNode(orphan)
            node = slicer.mrmlScene.AddNewNodeByClass(_className(role), f"BRBS {_('inspector')} {role}")
            node.SetAttribute(ATTRIBUTE, role)
            node.SetSaveWithScene(False)
            if not role.endswith("colours"):
                self._addDisplay(role, node)
        return node

    def _addDisplay(self, role: str, node) -> None:
        node.CreateDefaultDisplayNodes()
        if role == DISPLACEMENT:
            arrows = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformDisplayNode")
            arrows.SetVisualizationMode(arrows.VIS_MODE_GLYPH)
            node.GetDisplayNode().SetVisualizationMode(arrows.VIS_MODE_GRID)
            node.AddAndObserveDisplayNodeID(arrows.GetID())
        for index in range(node.GetNumberOfDisplayNodes()):
            display = node.GetNthDisplayNode(index)
            display.SetAttribute(ATTRIBUTE, _displayRole(role))
            display.SetSaveWithScene(False)
            self._style(role, display)

    def _style(self, role: str, display) -> None:
        if role == DISPLACEMENT:
            display.SetVisibility(True)
            display.SetVisibility2D(True)
            return
        if role in LABELS:
            display.SetAndObserveColorNodeID(self._node(f"{ATLAS_LABELS} colours").GetID())
            return
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0.0, 1.0)
        if role == BOARD:  # its other fields are transparent, and their borders sharp
            display.SetInterpolate(False)
            display.SetThreshold(0.0, 1e6)
            display.SetApplyThreshold(True)
        if role == JACOBIAN:
            display.SetWindowLevelMinMax(0.0, 2.0)
            display.SetAndObserveColorNodeID(self._colours(role, styleJacobianColours).GetID())
        if role == MAGNITUDE:
            display.SetAutoWindowLevel(True)
            display.SetAndObserveColorNodeID(self._colours(role, styleMagnitudeColours).GetID())

    def _colours(self, role: str, style):
        node = self._node(f"{role} colours")
        style(node)
        return node


def _displayRole(role: str) -> str:
    return f"{role} display"


def _className(role: str) -> str:
    if role.endswith("colours"):
        return COLOURS
    return {DISPLACEMENT: TRANSFORM}.get(role, LABEL_MAP if role in LABELS else VOLUME)


def _readGrid(path: Path):
    """A displacement field as vtkOrientedGridTransform, points of the target to points of the atlas.

    Linear interpolation is what the engine uses, and several times as fast as the cubic one that Slicer begins with.
    """
    node = slicer.vtkMRMLGridTransformNode()
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(path))
    grid = node.GetTransformFromParent() if storage.ReadData(node) else None
    if grid is None or not grid.IsA("vtkOrientedGridTransform"):
        problem = _("{path}: Slicer cannot read it as a displacement field; generate again")
        raise InputError(problem.format(path=path))
    grid.SetInterpolationModeToLinear()
    return grid


def _magnitude(grid) -> tuple[np.ndarray, np.ndarray]:
    """Length of the whole displacement in mm on the field's own grid (D, H, W), and that grid's IJK to RAS."""
    field = grid.GetDisplacementGrid()
    vectors = vtk_to_numpy(field.GetPointData().GetScalars())
    matrix = np.eye(4)
    if grid.GetGridDirectionMatrix() is not None:
        matrix = slicer.util.arrayFromVTKMatrix(grid.GetGridDirectionMatrix()).copy()
    matrix[:3, :3] *= field.GetSpacing()
    matrix[:3, 3] = field.GetOrigin()
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float32)
    return lengths.reshape(field.GetDimensions()[::-1]), matrix


def _fitSpacing(display, grid) -> None:
    """Lines and arrows as far apart as fits the field's size."""
    field = grid.GetDisplacementGrid()
    lengths = [size * spacing for size, spacing in zip(field.GetDimensions(), field.GetSpacing(), strict=True)]
    apart = max(lengths) / GRID_LINES
    display.SetGridSpacingMm(apart)
    display.SetGridResolutionMm(apart / 2)  # finer takes longer to bend
    display.SetGlyphSpacingMm(apart)
    display.SetGlyphScalePercent(100)


def _checkerboard(shape: tuple[int, ...]) -> np.ndarray:
    """Every other field of a board, bool (D, H, W)."""
    field = max(max(shape) // FIELDS, 1)
    places = np.ogrid[tuple(slice(size) for size in shape)]
    return sum(place // field for place in places) % 2 == 0
