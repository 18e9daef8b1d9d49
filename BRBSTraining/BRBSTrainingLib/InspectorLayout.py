"""The slice views of the inspector: atlas, generated and target side by side, and what lies over the generated one."""

from __future__ import annotations

import slicer

from .InspectorScene import ATLAS, ATLAS_LABELS, GENERATED, GENERATED_LABELS, TARGET, InspectorScene

ARRANGEMENT = 5050  # number of the layout; Slicer's own are lower
LABEL_OPACITY = 0.5
CONTENTS = {  # by view: short name, colour, background and labels
    "BRBSAtlas": ("A", "#6EB04B", ATLAS, ATLAS_LABELS),
    "BRBSGenerated": ("G", "#EDD54C", GENERATED, GENERATED_LABELS),
    "BRBSTarget": ("T", "#F34A33", TARGET, None),
}


def registerInspectorLayout() -> None:
    """Tells Slicer of the three views, so that a scene which was saved with them finds them when it is loaded."""
    layout = _layoutNode()
    if layout is not None and not layout.IsLayoutDescription(ARRANGEMENT):  # without a main window there is no layout
        layout.AddLayoutDescription(ARRANGEMENT, _description())


class InspectorLayout:
    """Shows a sample in the slice views.

    Args:
        shown: the sample's nodes.
    """

    def __init__(self, shown: InspectorScene) -> None:
        self._shown = shown
        self._before = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView  # if a scene was saved side by side

    @property
    def sideBySide(self) -> bool:
        """Whether the three views are shown side by side."""
        return _layoutNode().GetViewArrangement() == ARRANGEMENT

    def show(self) -> None:
        """Shows atlas, generated and target side by side, in linked views of one orientation."""
        layout = _layoutNode()
        if not self.sideBySide:
            self._before = layout.GetViewArrangement()
        registerInspectorLayout()
        layout.SetViewArrangement(ARRANGEMENT)
        for name, (*_unused, background, labels) in CONTENTS.items():
            composite = _composite(name)
            self._fill(composite, background, labels)
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
        nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
        self._shown.limitField([node.GetID() for node in nodes if node.GetLayoutName() == "BRBSGenerated"])
        _fitViews(CONTENTS)

    def hide(self) -> None:
        """Goes back to the layout before, with the generated volume in all its slice views."""
        if self.sideBySide:
            _layoutNode().SetViewArrangement(self._before)
        self.leave()
        names = []
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetLayoutName() not in CONTENTS:
                self._fill(composite, GENERATED, GENERATED_LABELS)
                names.append(composite.GetLayoutName())
        _fitViews(names)

    def leave(self) -> None:
        """The three views are no longer seen: the displacement is drawn in all views again."""
        self._shown.limitField([])

    def lay(self, role: str | None, opacity: float) -> None:
        """Lays a volume over the generated one, wherever that is shown.

        Args:
            role: which of the inspector's volumes; None: none.
            opacity: 0 to 1.
        """
        generated = self._shown.find(GENERATED)
        over = self._shown.find(role) if role else None
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if generated is not None and composite.GetBackgroundVolumeID() == generated.GetID():
                composite.SetForegroundVolumeID(over.GetID() if over else None)
                composite.SetForegroundOpacity(opacity)

    def _fill(self, composite, background: str, labels: str | None) -> None:
        composite.SetBackgroundVolumeID(self._shown.find(background).GetID())
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(self._shown.find(labels).GetID() if labels else None)
        composite.SetLabelOpacity(LABEL_OPACITY)


def _layoutNode():
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _composite(name: str):
    """What is shown in a view; made where the view is so new that it has none yet, for the view to find."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    found = next((node for node in nodes if node.GetLayoutName() == name), None)
    if found is None:
        made = slicer.vtkMRMLSliceCompositeNode()
        made.SetLayoutName(name)
        made.SetSingletonTag(name)
        found = slicer.mrmlScene.AddNode(made)
    return found


def _fitViews(names) -> None:
    """Brings all of the background into view; only views of the application have a logic that can."""
    for name in names:
        logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)
        if logic is not None:
            logic.FitSliceToBackground()


def _description() -> str:
    views = [
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{label}</property>'
        f'<property name="viewcolor" action="default">{colour}</property>'
        "</view></item>"
        for name, (label, colour, *_unused) in CONTENTS.items()
    ]
    return f'<layout type="horizontal" split="false">{"".join(views)}</layout>'
