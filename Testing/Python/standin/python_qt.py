"""Makes PyQt5's classes speak as PythonQt's do in Slicer.

Qt properties are attributes (``button.enabled = False``, ``combo.count``), signals are also connected by their C++
signature (``button.connect("clicked(bool)", f)``), a slot gets as many arguments as it takes, attributes that a widget
does not have cannot be set, and a file dialog returns paths only.
"""

import inspect
from contextlib import contextmanager
from types import ModuleType

from PyQt5 import QtCore, QtGui, QtWidgets, sip

# Virtual methods, too: as a property, Qt itself would take them for reimplemented in Python.
_VIRTUAL = {"sizeHint", "minimumSizeHint", "duration"}
_VIRTUAL_OF = {QtWidgets.QProgressBar: {"text"}, QtCore.QTimer: {"singleShot"}}  # the last: a static method, too
_MODULES = (QtCore, QtGui, QtWidgets)
_RESULT_FIRST = {
    QtWidgets.QFileDialog: ("getOpenFileName", "getOpenFileNames", "getSaveFileName"),
    QtWidgets.QInputDialog: ("getText", "getMultiLineText", "getItem", "getInt", "getDouble"),
}
_connected = {}


def qtModule() -> ModuleType:
    """Returns a module ``qt`` with all names of QtCore, QtGui and QtWidgets; changes PyQt5's classes the first time."""
    if not hasattr(QtCore.QObject, "connect"):
        _speak()
    module = ModuleType("qt")
    for part in _MODULES:
        vars(module).update({name: value for name, value in vars(part).items() if name.startswith("Q")})
    module.Signal, module.Slot, module.Property = QtCore.pyqtSignal, QtCore.pyqtSlot, QtCore.pyqtProperty
    return module


@contextmanager
def asPyQt():
    """Within it, PyQt's own .ui reader works: ``objectName()`` and the like are methods, any attribute can be set."""
    changed = [*_GETTERS, (QtCore.QObject, "__setattr__")]
    spoken = [vars(qtClass)[name] for qtClass, name in changed]
    for (qtClass, name), getter in _GETTERS.items():
        setattr(qtClass, name, getter)
    del QtCore.QObject.__setattr__
    try:
        yield
    finally:
        for (qtClass, name), value in zip(changed, spoken):
            setattr(qtClass, name, value)


# those that the reader calls
_GETTERS = {
    (qtClass, name): inspect.getattr_static(qtClass, name)
    for qtClass, name in ((QtCore.QObject, "objectName"), (QtWidgets.QWidget, "sizePolicy"))
}


def _speak() -> None:
    classes = {value for part in _MODULES for value in vars(part).values() if isinstance(value, type)}
    for qtClass in sorted((c for c in classes if issubclass(c, QtCore.QObject)), key=lambda c: len(c.__mro__)):
        _makeAttributes(qtClass)
    QtCore.QObject.name = QtCore.QObject.objectName
    QtCore.QObject.connect = _connect
    QtCore.QObject.disconnect = _disconnect
    QtCore.QObject.className = lambda self: self.metaObject().className()
    QtCore.QObject.delete = lambda self: sip.delete(self)
    QtCore.QObject.__setattr__ = _setExisting
    QtCore.QObject.__bool__ = lambda self: not sip.isdeleted(self)  # PyQt takes an empty list or combo box for false
    for dialog, names in _RESULT_FIRST.items():
        for name in names:
            setattr(dialog, name, _firstOf(getattr(dialog, name)))


def _makeAttributes(qtClass: type) -> None:
    meta = qtClass.staticMetaObject
    for index in range(meta.propertyCount()):
        name = meta.property(index).name()
        if name in _VIRTUAL | _VIRTUAL_OF.get(qtClass, set()):
            continue
        # an inherited property may be hidden by a method of this class
        if not isinstance(getattr(qtClass, name, None), property):
            setattr(qtClass, name, _attribute(qtClass, name))


def _attribute(qtClass: type, name: str) -> property:
    """The property by its C++ getter and setter, which have exact types; by its name where there are none."""
    capital = name[0].upper() + name[1:]
    getters = [getattr(qtClass, getter, None) for getter in (name, "is" + capital, "has" + capital)]
    getter = next((getter for getter in getters if callable(getter)), lambda self: self.property(name))
    setter = getattr(qtClass, "set" + capital, None) or (lambda self, value: self.setProperty(name, value))
    return property(lambda self: getter(self), lambda self, value: setter(self, value))


def _setExisting(self, name: str, value) -> None:
    """Attributes of C++ objects are those that they have; classes derived in Python may have any."""
    cls = type(self)
    foreign = not cls.__module__.startswith(("PyQt5.", "standin."))
    if not (foreign or name.startswith("_") or hasattr(type(getattr(cls, name, None)), "__set__")):
        raise AttributeError(f"'{name}' is no property of {cls.__name__}; C++ objects take no new attributes")
    object.__setattr__(self, name, value)


def _connect(self, signature: str, receiver) -> bool:
    signal, arguments = _signal(self, signature)
    taken = min(len(arguments), _positionals(receiver))

    def call(*values):
        receiver(*values[:taken])

    signal.connect(call)
    _connected.setdefault((sip.unwrapinstance(self), signature), []).append((receiver, call))
    return True


def _disconnect(self, signature: str, receiver) -> bool:
    connected = _connected.get((sip.unwrapinstance(self), signature), [])
    found = [pair for pair in connected if pair[0] == receiver]
    for pair in found:
        _signal(self, signature)[0].disconnect(pair[1])
        connected.remove(pair)
    return bool(found)


def _signal(sender, signature: str):
    """Returns the signal of a C++ signature and the types of its arguments.

    Raises:
        ValueError: the object has no such signal.
    """
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
    # signals with MRML objects are declared with Python objects here
    declared = normal.replace("vtkMRMLNode*", "PyQt_PyObject").replace("vtkMRMLScene*", "PyQt_PyObject")
    if sender.metaObject().indexOfSignal(declared) < 0:
        raise ValueError(f"{sender.metaObject().className()} has no signal {signature}")
    name, _, arguments = declared.rstrip(")").partition("(")
    types = tuple(arguments.split(",")) if arguments else ()
    signal = getattr(sender, name)
    return signal[types] if types else signal, types


def _positionals(function) -> int:
    """How many positional arguments a callable takes at most."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a method of a C++ object
        return 0
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 100
    return sum(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in parameters
    )


def _firstOf(function):
    return staticmethod(lambda *arguments, **named: function(*arguments, **named)[0])
