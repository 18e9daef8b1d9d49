"""What exists in Slicer: things with names, some of which are things again."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path


class Missing(LookupError):
    """A name that does not exist."""


class Thing:
    """Something of Slicer that may be asked for a name and may be called."""

    label = ""

    def get(self, name: str) -> Thing | None:
        """Returns what the name stands for, None where that is not known.

        Raises:
            Missing: there is no such name.
        """
        return None

    def called(self, literals: list) -> Thing | None:
        """Returns what a call gives.

        Args:
            literals: the arguments; None for those that are no constants.
        """
        return None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.label == other.label

    def __hash__(self) -> int:
        return hash(self.label)


class Function(Thing):
    """Something of which it matters only what it returns."""

    def __init__(self, label: str, returns: Callable[[list], Thing | None]) -> None:
        self.label, self.called = label, returns


class Named(Thing):
    """A module or an object with known names."""

    def __init__(self, label: str, names: Iterable[str], members: dict[str, Thing] | None = None) -> None:
        self.label, self._members = label, members or {}
        self._names = {*names, *self._members}

    def get(self, name: str) -> Thing | None:
        if name not in self._names and not name.startswith("__"):
            raise Missing(f"{self.label}.{name}")
        return self._members.get(name)


class QtClass(Thing):
    """A class of Qt, CTK or Slicer's widgets."""

    def __init__(self, api: Api, label: str) -> None:
        self._api, self.label = api, label

    def get(self, name: str) -> Thing | None:
        return self._api.member(self.label, name)

    def called(self, literals: list) -> Thing | None:
        return QtObject(self._api, self.label)


class QtObject(QtClass):
    """An object of such a class."""

    def called(self, literals: list) -> Thing | None:
        return None


class VtkClass(Thing):
    """A class of VTK or MRML, as slicer-core has it."""

    def __init__(self, cls: type) -> None:
        self._cls, self.label = cls, cls.__name__

    def get(self, name: str) -> Thing | None:
        member = next((getattr(cls, name) for cls in self._candidates() if hasattr(cls, name)), None)
        if member is None:
            raise Missing(f"{self.label}.{name}")
        returned = re.search(r"-> (vtk\w+)", member.__doc__ or "")
        cls = _vtk_class(returned[1]) if returned else None
        return Function(name, lambda literals: VtkResult(cls)) if cls else None

    def _candidates(self) -> list[type]:
        return [self._cls]

    def called(self, literals: list) -> Thing | None:
        return VtkObject(self._cls)


class VtkObject(VtkClass):
    """An object of such a class."""

    def called(self, literals: list) -> Thing | None:
        return None


class VtkResult(VtkObject):
    """What a method returns: an object of the class that it declares, or of one derived from that."""

    def _candidates(self) -> list[type]:
        classes = [self._cls]
        for cls in classes:
            classes.extend(cls.__subclasses__())
        return classes


# What some methods return, by their names: enough to follow what our modules do.
_RETURNS = {
    "horizontalHeader": "qt.QHeaderView",
    "verticalHeader": "qt.QHeaderView",
    "selectionModel": "qt.QItemSelectionModel",
    "style": "qt.QStyle",
    "clipboard": "qt.QClipboard",
    "lineEdit": "qt.QLineEdit",
    "settings": "qt.QSettings",
    "comboBox": "qt.QComboBox",
}
_MAKE_NODES = ("AddNewNodeByClass", "CreateNodeByClass", "GetFirstNodeByClass")
# PythonQt's own words, which are in no list, but Slicer's utilities use them.
_PYTHONQT = {"name": "objectName", "exec_": "exec", "raise_": "raise"}


class Api:
    """What a running Slicer has.

    Args:
        content: the list, as written by Slicer.
        own_modules: names of our own modules, which Slicer has when they are installed.
    """

    def __init__(self, content: dict, own_modules: Iterable[str] = ()) -> None:
        self._content, self._classes = content, content["classes"]
        self._core, vtk = _imported("slicer"), _imported("vtk")
        self.modules: dict[str, Thing] = {name: self._qt_module(name) for name in ("qt", "ctk")}
        self.modules.update(self._slicer_modules({name.lower() for name in own_modules}))
        if vtk:
            self.modules["vtk"] = _Vtk(vtk)

    @classmethod
    def load(cls, path: Path, own_modules: Iterable[str] = ()) -> Api:
        """Reads the list."""
        return cls(json.loads(path.read_text(encoding="utf-8")), own_modules)

    def widget(self, name: str) -> QtObject:
        """Returns an object of a widget class by its plain name.

        Raises:
            Missing: there is no such class.
        """
        for module in ("qt", "ctk", "slicer"):
            if f"{module}.{name}" in self._classes:
                return QtObject(self, f"{module}.{name}")
        raise Missing(f"class {name}")

    def member(self, cls: str, name: str) -> Thing | None:
        """Returns what a name of a class or of one of its bases stands for; None: not known.

        Raises:
            Missing: neither the class nor a base has it.
        """
        if not self.has(cls, name):
            raise Missing(f"{cls}.{name}")
        return Function(name, lambda literals: QtObject(self, _RETURNS[name])) if name in _RETURNS else None

    def has(self, cls: str, name: str) -> bool:
        """Tells whether a class or one of its bases has a name; everything is believed of an unknown class."""
        name = _PYTHONQT.get(name, name)
        if name.startswith("__"):
            return True
        while cls:
            if cls not in self._classes or name in self._classes[cls]["own"]:
                return True
            cls = self._classes[cls]["base"]
        return False

    def node(self, name: str) -> Thing | None:
        """Returns an object of a MRML class; None: not known, because slicer-core is not there.

        Raises:
            Missing: Slicer has no such class.
        """
        if self._core is not None and hasattr(self._core, name):
            return VtkObject(getattr(self._core, name))
        if name in self._content["slicer"]:
            return None
        raise Missing(f"class {name}")

    def _qt_module(self, module: str) -> Thing:
        names = [label.split(".")[1] for label in self._classes if label.startswith(module + ".")]
        return Named(module, self._content[module], {name: QtClass(self, f"{module}.{name}") for name in names})

    def _slicer_modules(self, own_modules: set[str]) -> dict[str, Thing]:
        content = self._content
        parts = {
            f"slicer.{name}": Named(f"slicer.{name}", content.get(f"slicer.{name}", ()))
            for name in ("packaging", "parameterNodeWrapper", "i18n")
        }
        parts["slicer.util"] = Named("slicer.util", content["slicer.util"])
        parts["slicer.app"] = self._application()
        parts["slicer.modules"] = self._loaded_modules(own_modules)
        parts["slicer.mrmlScene"] = self._scene()
        scripted = [key.split(".")[2] for key in content if key.startswith("slicer.ScriptedLoadableModule.")]
        parts["slicer.ScriptedLoadableModule"] = Named("slicer.ScriptedLoadableModule", scripted)
        members: dict[str, Thing] = {label.split(".")[1]: thing for label, thing in parts.items()}
        widgets = [label.split(".")[1] for label in self._classes if label.startswith("slicer.")]
        members.update({name: QtClass(self, f"slicer.{name}") for name in widgets})
        members.update({name: VtkClass(cls) for name in content["slicer"] if (cls := self._core_class(name))})
        return {"slicer": Named("slicer", content["slicer"], members), **parts}

    def _application(self) -> Thing:
        returned = {name: Named(name + "()", self._content[name]) for name in ("layoutManager", "applicationLogic")}
        members = {name: Function(name, lambda _, thing=thing: thing) for name, thing in returned.items()}
        for name in ("clipboard", "settings", "style"):
            members[name] = Function(name, lambda _, name=name: QtObject(self, _RETURNS[name]))
        return Named("slicer.app", self._content["slicer.app"], members)

    def _loaded_modules(self, own_modules: set[str]) -> Thing:
        every = self._content["slicer.modules.segmentations"]
        members: dict[str, Thing] = {}
        for name in self._content["slicer.modules"]:
            label, logic = f"slicer.modules.{name}", self._content.get(f"slicer.modules.{name}.logic()")
            cls = self._core_class(logic) if logic else None
            returned = VtkObject(cls) if cls else None
            function = Function("logic", lambda _, returned=returned: returned)
            if name.islower():  # others are no modules
                members[name] = Named(label, self._content.get(label, every), {"logic": function})
        return Named("slicer.modules", {*self._content["slicer.modules"], *own_modules}, members)

    def _scene(self) -> Thing:
        members = {
            name: Function(name, lambda literals: self.node(literals[0]) if literals and literals[0] else None)
            for name in _MAKE_NODES
        }
        return Named("slicer.mrmlScene", self._content["slicer.mrmlScene"], members)

    def _core_class(self, name: str) -> type | None:
        cls = getattr(self._core, name, None)
        return cls if isinstance(cls, type) and name.startswith("vtk") else None


class _Vtk(Thing):
    label = "vtk"

    def __init__(self, module) -> None:
        self._module = module

    def get(self, name: str) -> Thing | None:
        if not hasattr(self._module, name):
            raise Missing(f"vtk.{name}")
        member = getattr(self._module, name)
        return VtkClass(member) if isinstance(member, type) else None


def _vtk_class(name: str) -> type | None:
    return next((getattr(part, name) for part in (_imported("slicer"), _imported("vtk")) if hasattr(part, name)), None)


def _imported(name: str):
    try:
        if name == "slicer":
            from standin.core import importSlicer

            return importSlicer()
        return importlib.import_module(name)
    except ImportError:
        return None
