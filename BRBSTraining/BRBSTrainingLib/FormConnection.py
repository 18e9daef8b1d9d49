"""A form and the parameter node that it shows."""

from __future__ import annotations

import slicer


class FormConnection:
    """Connects a form to one parameter node after the other.

    Args:
        ui: the form's widgets by name.

    Attributes:
        parameters: the wrapped parameter node; None: none.
    """

    def __init__(self, ui) -> None:
        self._ui, self._tag = ui, None
        self.parameters = None

    def follow(self, parameters) -> bool:
        """Connects to a parameter node, or to none; false where it is connected to that one already."""
        same = parameters is not None and self.parameters is not None
        if same and parameters.parameterNode is self.parameters.parameterNode:
            return False
        if self.parameters is not None:
            self.parameters.disconnectGui(self._tag)
        self.parameters = parameters
        if parameters is not None:
            self._tag = parameters.connectGui(self._ui)
        return True


def sceneHasParameters(moduleName: str) -> bool:
    """Whether the scene was saved with a module's parameter node; closing a scene leaves an empty one there."""
    node = slicer.mrmlScene.GetSingletonNode(moduleName, "vtkMRMLScriptedModuleNode")
    return node is not None and node.GetAttribute("ModuleName") is not None
