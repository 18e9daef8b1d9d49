"""The few CTK widgets that our forms use, with CTK's properties and signals."""

from PyQt5.QtCore import QDir, QEvent, QRect, QSettings, Qt, pyqtProperty, pyqtSignal
from PyQt5.QtGui import QPainter
from PyQt5.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QSlider,
    QStyle,
    QStyleOptionButton,
    QToolButton,
    QWidget,
)


class _Folding:
    """Hides what is in a widget while it is collapsed, and shows of it afterwards what is meant to be seen."""

    def _fold(self) -> None:
        self._collapsed, self._forcing, self._wanted = False, False, {}

    def childEvent(self, event) -> None:
        """Watches new children, which may want to be hidden."""
        if event.polished() and isinstance(event.child(), QWidget):
            event.child().installEventFilter(self)
            self._hideContents()

    def showEvent(self, event) -> None:
        """Children are shown together with their parent: not those of a collapsed one."""
        self._hideContents()
        super().showEvent(event)

    def eventFilter(self, child, event) -> bool:
        """Remembers what a child is told while it is out of sight."""
        if self._collapsed and not self._forcing and event.type() in (QEvent.ShowToParent, QEvent.HideToParent):
            self._wanted[child] = event.type() == QEvent.ShowToParent
            self._show(child, False)
        return False

    def setCollapsed(self, collapsed: bool) -> None:
        """Collapses or expands."""
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        if collapsed:
            self._hideContents()
        else:
            for child in self._contents():
                self._show(child, self._wanted.get(child, not child.isHidden()))
            self._wanted.clear()
        self.setMaximumHeight(self._headerHeight() if collapsed else 16777215)  # Qt's own greatest height
        self.updateGeometry()
        self.update()

    def _headerHeight(self) -> int:
        return self.fontMetrics().height() + 10

    def _contents(self) -> list:
        return [child for child in self.children() if isinstance(child, QWidget)]

    def _hideContents(self) -> None:
        if self._collapsed:
            for child in self._contents():
                self._wanted.setdefault(
                    child, not child.testAttribute(Qt.WA_WState_ExplicitShowHide) or not child.isHidden()
                )
                self._show(child, False)

    def _show(self, child, shown: bool) -> None:
        self._forcing = True
        child.setVisible(shown)
        # otherwise Qt would not tell when the child is hidden on purpose later
        child.setAttribute(Qt.WA_WState_ExplicitShowHide, not self._wanted.get(child, shown))
        self._forcing = False


class ctkCollapsibleButton(_Folding, QAbstractButton):
    """A section with a header that folds it."""

    contentsCollapsed = pyqtSignal(bool)

    def __init__(self, *arguments) -> None:
        super().__init__(*(argument for argument in arguments if argument is not None))
        self._fold()
        if arguments and isinstance(arguments[0], str):
            self.setText(arguments[0])
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self._headerHeight(), 0, 0)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))

    collapsed = pyqtProperty(bool, lambda self: self._collapsed, lambda self, value: self.setCollapsed(value))

    def setCollapsed(self, collapsed: bool) -> None:
        """Collapses or expands."""
        changed = collapsed != self._collapsed
        super().setCollapsed(collapsed)
        if changed:
            self.contentsCollapsed.emit(collapsed)

    def hitButton(self, position) -> bool:
        """Only the header folds."""
        return self.rect.contains(position) and position.y() < self._headerHeight()

    def paintEvent(self, event) -> None:
        """Draws the header."""
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect = QRect(0, 0, self.width, self._headerHeight())
        painter, style = QPainter(self), self.style()
        style.drawControl(QStyle.CE_PushButtonBevel, option, painter, self)
        arrow = QStyle.PE_IndicatorArrowRight if self._collapsed else QStyle.PE_IndicatorArrowDown
        height = option.rect.height()
        text = option.rect.adjusted(height, 0, 0, 0)
        option.rect = QRect(0, 0, height, height).adjusted(7, 7, -7, -7)
        style.drawPrimitive(arrow, option, painter, self)
        alignment = Qt.AlignLeft | Qt.AlignVCenter | Qt.TextShowMnemonic
        style.drawItemText(painter, text, alignment, option.palette, self.enabled, self.text)


class ctkCollapsibleGroupBox(_Folding, QGroupBox):
    """A group box whose check box folds it."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self._fold()
        self.setCheckable(True)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))

    collapsed = pyqtProperty(bool, lambda self: self._collapsed, lambda self, value: self.setCollapsed(value))


class ctkPathLineEdit(QWidget):
    """A path to be typed, browsed for or taken from the history in the settings."""

    AllEntries = int(QDir.AllEntries)
    Dirs, Files, Drives = int(QDir.Dirs), int(QDir.Files), int(QDir.Drives)
    Readable, Writable, Executable = int(QDir.Readable), int(QDir.Writable), int(QDir.Executable)
    NoDot, NoDotDot, NoDotAndDotDot = int(QDir.NoDot), int(QDir.NoDotDot), int(QDir.NoDotAndDotDot)
    Hidden, NoFilter = int(QDir.Hidden), int(QDir.NoFilter)
    _LONGEST_HISTORY = 5

    currentPathChanged = pyqtSignal(str)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._filters, self._nameFilters, self._settingKey = self.AllEntries, [], ""
        self._label, self._options, self._minimum, self._adjust, self._history = "", 0, 10, 0, True
        self._combo, self._button = QComboBox(self), QToolButton(self)
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(QComboBox.NoInsert)
        self._combo.setMinimumContentsLength(self._minimum)
        self._combo.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._button.setText("…")
        self._button.clicked.connect(lambda: self.browse())
        self._combo.editTextChanged.connect(self.currentPathChanged)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo, 1)
        layout.addWidget(self._button)

    def _kept(kind, name):  # noqa: N805  (makes properties that are only kept)
        return pyqtProperty(kind, lambda self: getattr(self, name), lambda self, value: setattr(self, name, value))

    filters = _kept(int, "_filters")
    nameFilters = _kept("QStringList", "_nameFilters")
    label = _kept(str, "_label")
    options = _kept(int, "_options")
    minimumContentsLength = _kept(int, "_minimum")
    sizeAdjustPolicy = _kept(int, "_adjust")
    showHistoryButton = _kept(bool, "_history")
    currentPath = pyqtProperty(
        str,
        lambda self: self._combo.currentText,
        lambda self, path: self.setCurrentPath(path),
        notify=currentPathChanged,
    )
    showBrowseButton = pyqtProperty(
        bool, lambda self: not self._button.isHidden(), lambda self, shown: self._button.setVisible(shown)
    )

    @pyqtProperty(str)
    def settingKey(self) -> str:
        """Where the history is kept; setting it takes the history in."""
        return self._settingKey

    @settingKey.setter
    def settingKey(self, key: str) -> None:
        self._settingKey = key
        self.retrieveHistory()

    def setCurrentPath(self, path: str) -> None:
        """Shows a path."""
        self._combo.setEditText(path)

    def addCurrentPathToHistory(self) -> None:
        """Puts the path first in the history; as in CTK, other paths may be shown, and told of, meanwhile."""
        path = self.currentPath
        if not path:
            return
        QSettings().setValue(self._key(), [path, *(other for other in self._storedHistory() if other != path)])
        if (index := self._combo.findText(path)) >= 0:
            self._combo.removeItem(index)
        while self._combo.count >= self._LONGEST_HISTORY:
            self._combo.removeItem(self._combo.count - 1)
        self._combo.insertItem(0, path)
        self._combo.setCurrentIndex(0)

    def retrieveHistory(self) -> None:
        """Lists the paths of the history; where no path is shown, the last used is, and nobody is told."""
        path = self.currentPath
        self.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(self._storedHistory()[: self._LONGEST_HISTORY])
        if path:
            self.setCurrentPath(path)
        self.blockSignals(False)

    def comboBox(self) -> QComboBox:
        """Returns the box that holds the path."""
        return self._combo

    def browse(self) -> None:
        """Asks for a folder, or for a file where files are allowed."""
        if self._filters & self.Files:
            path = QFileDialog.getOpenFileName(self, self._label, self.currentPath, ";;".join(self._nameFilters))
        else:
            path = QFileDialog.getExistingDirectory(self, self._label, self.currentPath)
        if path:
            self.setCurrentPath(path)

    def _key(self) -> str:
        return f"ctkPathLineEdit/{self._settingKey or self.objectName}"

    def _storedHistory(self) -> list:
        stored = QSettings().value(self._key()) or []
        return [stored] if isinstance(stored, str) else list(stored)


class ctkSliderWidget(QWidget):
    """A slider with a spin box."""

    valueChanged = pyqtSignal("double")

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._box, self._slider = QDoubleSpinBox(self), QSlider(Qt.Horizontal, self)
        self._slider.setRange(0, 1000)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._slider.valueChanged.connect(self._slid)
        self._box.valueChanged.connect(self._typed)

    def _ofBox(kind, name):  # noqa: N805  (makes properties of the spin box)
        return pyqtProperty(
            kind, lambda self: getattr(self._box, name), lambda self, value: setattr(self._box, name, value)
        )

    minimum, maximum, value = _ofBox(float, "minimum"), _ofBox(float, "maximum"), _ofBox(float, "value")
    singleStep, decimals = _ofBox(float, "singleStep"), _ofBox(int, "decimals")
    prefix, suffix = _ofBox(str, "prefix"), _ofBox(str, "suffix")

    def setValue(self, value: float) -> None:
        """Sets the value."""
        self._box.setValue(value)

    def _slid(self, position: int) -> None:
        self._box.setValue(self.minimum + (self.maximum - self.minimum) * position / 1000)

    def _typed(self, value: float) -> None:
        span = (self.maximum - self.minimum) or 1.0
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - self.minimum) / span * 1000))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)
