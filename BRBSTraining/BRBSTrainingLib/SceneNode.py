"""A node of the scene, remembered for later."""

from __future__ import annotations

import slicer
import vtk


class SceneNode:
    """Remembers a node without keeping it alive; equal to others of that node while it is in the scene.

    The node's ID would not do: scenes number their nodes anew, so that it may be that of another patient's scan later.

    Args:
        node: of the scene.
    """

    def __init__(self, node) -> None:
        self._id, self._reference = node.GetID(), vtk.vtkWeakReference()
        self._reference.Set(node)

    @property
    def node(self):
        """The node; None: it is no longer in the scene."""
        node = self._reference.Get()
        return node if node is not None and slicer.mrmlScene.IsNodePresent(node) else None

    def __eq__(self, other) -> bool:
        if not isinstance(other, SceneNode):
            return False
        return self is other or (self.node is not None and self.node is other.node)

    def __hash__(self) -> int:
        return hash(self._id)
