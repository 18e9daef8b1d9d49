"""``slicer.parameterNodeWrapper`` for the types and widgets that our modules use.

Values are kept in the parameters and node references of a real vtkMRMLScriptedModuleNode, under the same names and in
the same words as Slicer's.
"""

import sys
import typing
from dataclasses import dataclass
from types import ModuleType

import ctk
import qt
import vtk

from standin.scene import slicer


class Choice:
    """Annotation: the values that a parameter may have."""

    def __init__(self, choices) -> None:
        self.choices = choices


@dataclass
class Default:
    """Annotation: the value of a parameter that has not been set."""

    value: object


@dataclass
class WithinRange:
    """Annotation: the bounds of a number."""

    minimum: float
    maximum: float


@dataclass
class Minimum:
    """Annotation: the lower bound of a number."""

    minimum: float


@dataclass
class Maximum:
    """Annotation: the upper bound of a number."""

    maximum: float


def parameterNodeWrapper(cls):
    """Makes the annotated attributes of a class parameters of the node it is constructed with."""
    hints = typing.get_type_hints(cls, include_extras=True)
    kinds = {name: typing.get_args(hint) or (hint,) for name, hint in hints.items()}
    defaults = {name: _default(cls, name, kinds[name]) for name in kinds}
    members = {name: _parameter(name, kinds[name][0]) for name in kinds}
    return type(cls.__name__, (_Wrapper,), {**members, "_kinds": kinds, "_defaults": defaults, "__doc__": cls.__doc__})


def install() -> None:
    """Makes it ``slicer.parameterNodeWrapper``."""
    module = ModuleType("slicer.parameterNodeWrapper")
    for part in (Choice, Default, WithinRange, Minimum, Maximum, parameterNodeWrapper):
        setattr(module, part.__name__, part)
    slicer.parameterNodeWrapper = sys.modules[module.__name__] = module


class _Wrapper:
    _kinds, _defaults = {}, {}

    def __init__(self, parameterNode) -> None:
        self.parameterNode = parameterNode
        self._guis, self._writing = {}, False
        for name, default in self._defaults.items():
            if not parameterNode.HasParameter(name):
                setattr(self, name, default)

    def getValue(self, name: str):
        """Returns a parameter by its name."""
        return getattr(self, name)

    def setValue(self, name: str, value) -> None:
        """Sets a parameter by its name."""
        setattr(self, name, value)

    def connectGui(self, gui) -> int:
        """Connects each widget of the form that has the property SlicerParameterName.

        Returns:
            The tag for `disconnectGui`.
        """
        widgets = vars(gui).values()
        named = {widget.property("SlicerParameterName"): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict) -> int:
        """Connects widgets by the names of their parameters.

        Returns:
            The tag for `disconnectGui`.
        """
        if unknown := sorted(set(mapping) - set(self._kinds)):
            raise ValueError(f"Cannot find a param with the given name: {', '.join(unknown)}")
        connections = {name: _Connection(self, name, widget) for name, widget in mapping.items()}
        # the observer's tag is also that of the widgets
        tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._write())
        self._guis[tag] = connections
        self._write()
        for connection in connections.values():
            connection.connect()
        return tag

    def disconnectGui(self, tag) -> None:
        """Disconnects the widgets of a tag; does nothing about an unknown one."""
        if tag in self._guis:
            self.RemoveObserver(tag)
        for connection in self._guis.pop(tag, {}).values():
            connection.disconnect()

    def _write(self) -> None:
        if self._writing:
            return
        self._writing = True
        try:
            for connections in self._guis.values():
                for name, connection in connections.items():
                    connection.write(getattr(self, name))
        finally:
            self._writing = False

    def StartModify(self) -> int:
        """Holds back events."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        """Sends the event held back."""
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        """Observes the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """Observes the node no longer."""
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        """Says that the node has changed."""
        self.parameterNode.Modified()


def _default(cls, name: str, kind: tuple):
    annotated = next((note.value for note in kind[1:] if isinstance(note, Default)), None)
    plain = {str: "", int: 0, float: 0.0, bool: False}.get(kind[0])
    return getattr(cls, name, plain if annotated is None else annotated)


def _parameter(name: str, kind: type) -> property:
    if issubclass(kind, slicer.vtkMRMLNode):
        return property(
            lambda self: self.parameterNode.GetNodeReference(name), lambda self, node: _refer(self, name, kind, node)
        )

    def read(self):
        if not self.parameterNode.HasParameter(name):  # closing the scene empties the node
            setattr(self, name, self._defaults[name])
        text = self.parameterNode.GetParameter(name)
        return text == "True" if kind is bool else kind(text)

    def write(self, value):
        if not isinstance(value, (int, float) if kind is float else kind):
            raise ValueError(f"{name}: {value!r} is no {kind.__name__}")
        choice = next((note for note in self._kinds[name][1:] if isinstance(note, Choice)), None)
        if choice and value not in choice.choices:
            raise ValueError(f"{name}: {value!r} is none of {choice.choices}")
        self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


def _refer(wrapper, name: str, kind: type, node) -> None:
    if not (node is None or isinstance(node, kind)):
        raise ValueError(f"{name}: {node.GetClassName()} is no {kind.__name__}")
    wrapper.parameterNode.SetParameter(name, "")  # tells a parameter set to no node from one that was never set
    wrapper.parameterNode.SetNodeReferenceID(name, node.GetID() if node else None)


class _Connection:
    """One widget and its parameter."""

    def __init__(self, wrapper, name: str, widget) -> None:
        kind, notes = wrapper._kinds[name][0], wrapper._kinds[name][1:]
        self._wrapper, self._name, self._widget = wrapper, name, widget
        found = [known for known in _CONNECTORS if type(widget) is known[0] and issubclass(kind, known[1])]
        if not found or issubclass(kind, bool) and found[0][1] is int:
            raise RuntimeError(f"Unable to create GUI connector from datatype {kind} to widget {type(widget).__name__}")
        _, _, signal, prepare, self._read, self._set = found[0]
        self._signal = getattr(widget, signal)
        if prepare:
            prepare(widget, kind, notes)

    def connect(self) -> None:
        self._signal.connect(self._changed)

    def disconnect(self) -> None:
        self._signal.disconnect(self._changed)

    def write(self, value) -> None:
        self._set(self._widget, value)

    def _changed(self, *_) -> None:
        if not self._wrapper._writing:
            setattr(self._wrapper, self._name, self._read(self._widget))


def _note(notes, kind: type):
    return next((note for note in notes if isinstance(note, kind)), None)


def _fillChoices(combo, kind, notes) -> None:
    choice = _note(notes, Choice)
    if choice is None:
        raise RuntimeError("a combo box needs the annotation Choice: Annotated[str, Choice([...])]")
    combo.clear()
    combo.addItems([str(value) for value in choice.choices])


def _bound(widget, kind, notes) -> None:
    """Slicer sets the bounds of the annotations, and the widest where there are none, whatever the form says."""
    within, low, high = (_note(notes, each) for each in (WithinRange, Minimum, Maximum))
    if type(widget) is ctk.ctkSliderWidget and not (within or low and high):
        raise RuntimeError("a slider needs the annotation WithinRange")
    widest = (-(2**31), 2**31 - 1) if kind is int else (float("-inf"), float("inf"))
    widget.minimum = within.minimum if within else low.minimum if low else widest[0]
    widget.maximum = within.maximum if within else high.maximum if high else widest[1]


def _listClass(combo, kind, notes) -> None:
    combo.nodeTypes = [kind.__name__]


def _select(combo, value) -> None:
    combo.currentIndex = combo.findText(value)


def _setter(attribute: str):
    return lambda widget, value: setattr(widget, attribute, value)


def _getter(attribute: str):
    return lambda widget: getattr(widget, attribute)


# widget, type of the parameter, signal of a change, what is done first, how the widget is read and set
_CONNECTORS = [
    (qt.QCheckBox, bool, "stateChanged", None, _getter("checked"), _setter("checked")),
    (
        qt.QPushButton,
        bool,
        "toggled",
        lambda button, *_: button.setCheckable(True),
        _getter("checked"),
        _setter("checked"),
    ),
    (qt.QSpinBox, int, "valueChanged", _bound, _getter("value"), _setter("value")),
    (qt.QDoubleSpinBox, float, "valueChanged", _bound, _getter("value"), _setter("value")),
    (ctk.ctkSliderWidget, float, "valueChanged", _bound, _getter("value"), _setter("value")),
    (qt.QComboBox, str, "currentIndexChanged", _fillChoices, _getter("currentText"), _select),
    (qt.QLineEdit, str, "textChanged", None, _getter("text"), _setter("text")),
    (
        slicer.qMRMLNodeComboBox,
        slicer.vtkMRMLNode,
        "currentNodeChanged",
        _listClass,
        lambda combo: combo.currentNode(),
        lambda combo, node: combo.setCurrentNode(node),
    ),
]
