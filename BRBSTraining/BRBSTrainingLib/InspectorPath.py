"""The path from the atlas to the target as a sequence that Slicer plays."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from .InspectorScene import ATTRIBUTE, DISPLACEMENT, InspectorScene

STEPS = 11  # alpha 0, 0.1, ... 1
FRAMES_PER_SECOND = 5.0
SEQUENCE, BROWSER = "vtkMRMLSequenceNode", "vtkMRMLSequenceBrowserNode"
ROLE = "path"


class InspectorPath:
    """Plays the displacement from nothing to the whole; the generated nodes follow.

    The sequence's items are displacement fields of growing scale, which the browser puts in place of the one shown.
    They are copies: what the slider does in between stays out of the sequence.

    Args:
        shown: the sample's nodes.
    """

    def __init__(self, shown: InspectorScene) -> None:
        self._shown = shown

    @property
    def playing(self) -> bool:
        """Whether the path is being played."""
        browser = _find(BROWSER)
        return browser is not None and browser.GetPlaybackActive()

    def play(self) -> None:
        """Plays the path over and over; makes its nodes where they are missing."""
        browser = _find(BROWSER) or self._make()
        slicer.modules.sequences.setToolBarActiveBrowserNode(browser)
        browser.SetPlaybackActive(True)

    def stop(self) -> None:
        """Stops where it is."""
        browser = _find(BROWSER)
        if browser is not None:
            browser.SetPlaybackActive(False)

    def remove(self) -> None:
        """Removes the nodes: the path of another sample is another one."""
        for className in (BROWSER, SEQUENCE):
            node = _find(className)
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)

    def _make(self):
        self.remove()
        node = self._shown.find(DISPLACEMENT)
        sequence = _add(SEQUENCE, _("BRBS inspector path"))
        sequence.SetIndexName("alpha")
        sequence.SetIndexUnit("")
        grid = node.GetTransformFromParent()
        for share in np.linspace(0, 1, STEPS):
            grid.SetDisplacementScale(share)
            sequence.SetDataNodeAtValue(node, f"{share:.1f}")
        browser = _add(BROWSER, _("BRBS inspector path browser"))
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        browser.AddProxyNode(node, sequence, False)
        browser.SetSaveChanges(sequence, False)
        browser.SetOverwriteProxyName(sequence, False)
        browser.SetPlaybackRateFps(FRAMES_PER_SECOND)
        browser.SetPlaybackLooped(True)
        return browser


def _find(className: str):
    nodes = slicer.util.getNodesByClass(className)
    return next((node for node in nodes if node.GetAttribute(ATTRIBUTE) == ROLE), None)


def _add(className: str, name: str):
    node = slicer.mrmlScene.AddNewNodeByClass(className, name)
    node.SetAttribute(ATTRIBUTE, ROLE)
    node.SetSaveWithScene(False)
    return node
