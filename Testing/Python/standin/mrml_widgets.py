"""The MRML widgets that our forms use, on the real scene."""

from PyQt5 import sip
from PyQt5.QtCore import pyqtProperty, pyqtSignal
from PyQt5.QtWidgets import QComboBox, QHBoxLayout, QWidget

from standin.scene import slicer


class qMRMLWidget(QWidget):
    """A widget that passes the scene on to those in it."""

    mrmlSceneChanged = pyqtSignal(object)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        """Returns the scene."""
        return self._scene

    def setMRMLScene(self, scene) -> None:
        """Sets the scene."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QWidget):
    """Chooses one of the scene's nodes of some classes; follows what is added, removed and renamed."""

    currentNodeChanged = pyqtSignal(object)
    currentNodeIDChanged = pyqtSignal(str)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene, self._observed, self._current = None, [], None
        self._nodeTypes, self._none, self._noneDisplay, self._hidden, self._children = [], False, "None", False, True
        self._add = self._remove = self._edit = self._rename = self._select = True
        self._baseName = ""
        self._combo = QComboBox(self)
        self._combo.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(lambda index: self._choose(self._combo.itemData(index)))

    def _kept(kind, name):  # noqa: N805  (makes properties that change what is listed)
        def keep(self, value):
            setattr(self, name, value)
            self._refresh()

        return pyqtProperty(kind, lambda self: getattr(self, name), keep)

    nodeTypes = _kept("QStringList", "_nodeTypes")
    noneEnabled, noneDisplay = _kept(bool, "_none"), _kept(str, "_noneDisplay")
    showHidden, showChildNodeTypes = _kept(bool, "_hidden"), _kept(bool, "_children")
    addEnabled, removeEnabled = _kept(bool, "_add"), _kept(bool, "_remove")
    editEnabled, renameEnabled = _kept(bool, "_edit"), _kept(bool, "_rename")
    selectNodeUponCreation, baseName = _kept(bool, "_select"), _kept(str, "_baseName")
    currentNodeID = pyqtProperty(
        str, lambda self: self._current or "", lambda self, nodeID: self.setCurrentNodeID(nodeID)
    )

    def mrmlScene(self):
        """Returns the scene."""
        return self._scene

    def setMRMLScene(self, scene) -> None:
        """Lists the nodes of a scene."""
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent) if scene else ()
        self._observed = [(scene, scene.AddObserver(event, self._sceneChanged)) for event in events]
        self._refresh()

    def currentNode(self):
        """Returns the chosen node, or None."""
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node) -> None:
        """Chooses a node, or none."""
        self.setCurrentNodeID(node.GetID() if node else "")

    def setCurrentNodeID(self, nodeID: str) -> None:
        """Chooses a node by its ID; one that is not listed is none."""
        self._choose(nodeID if self._combo.findData(nodeID) >= 0 and nodeID else None)

    def nodeCount(self) -> int:
        """Returns how many nodes are listed."""
        return len(self._nodes())

    def _sceneChanged(self, scene, event) -> None:
        if not sip.isdeleted(self) and not scene.IsBatchProcessing():
            self._refresh()

    def _nodes(self) -> list:
        if self._scene is None:
            return []
        nodes = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        return [node for node in nodes if self._listed(node)]

    def _listed(self, node) -> bool:
        if node.GetHideFromEditors() and not self._hidden:
            return False
        if self._children:
            return any(node.IsA(name) for name in self._nodeTypes)
        return node.GetClassName() in self._nodeTypes

    def _refresh(self) -> None:
        nodes = self._nodes()
        self._watchNames(nodes)
        self._combo.clear()
        if self._none:
            self._combo.addItem(self._noneDisplay, None)
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        known = [node.GetID() for node in nodes]
        fallback = None if self._none or not known else known[0]
        self._choose(self._current if self._current in known else fallback)

    def _watchNames(self, nodes: list) -> None:
        scene = [pair for pair in self._observed if pair[0] is self._scene]
        for node, tag in self._observed[len(scene) :]:
            node.RemoveObserver(tag)
        self._observed = scene + [(node, node.AddObserver("ModifiedEvent", self._renamed)) for node in nodes]

    def _renamed(self, node, event) -> None:
        index = -1 if sip.isdeleted(self) else self._combo.findData(node.GetID())
        if index >= 0:
            self._combo.setItemText(index, node.GetName())

    def _choose(self, nodeID) -> None:
        changed, self._current = nodeID != self._current, nodeID
        self._combo.setCurrentIndex(self._combo.findData(nodeID) if nodeID else 0 if self._none else -1)
        if changed:
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(nodeID or "")


WIDGETS = (qMRMLWidget, qMRMLNodeComboBox)
for _widget in WIDGETS:
    setattr(slicer, _widget.__name__, _widget)
