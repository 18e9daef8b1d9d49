"""Checks a .ui file: classes, properties, connections and names of parameters."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from api_check.names import Api, Missing, QtObject

# Qt Designer's words for what layouts, spacers and lines have otherwise.
_DESIGNER = {
    "layout": {"leftMargin", "topMargin", "rightMargin", "bottomMargin", "margin", "spacing"},
    "spacer": {"orientation", "sizeHint", "sizeType"},
}
NODE_CLASS = re.compile(r"vtkMRML\w+Node")


@dataclass
class Form:
    """What a .ui file holds.

    Attributes:
        path: the file.
        widgets: widgets and layouts by name.
        parameters: names of parameters and their lines.
        problems: what does not exist.
    """

    path: Path
    widgets: dict[str, QtObject] = field(default_factory=dict)
    parameters: list[tuple[str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def unknown_parameters(self, known: Collection[str]) -> list[str]:
        """Returns a problem for each widget that is to show a parameter that the parameter node lacks."""
        unknown = [(name, line) for name, line in self.parameters if name not in known]
        return [f"{self.path}:{line}: parameter {name} does not exist" for name, line in unknown]


def read_form(path: Path, api: Api) -> Form:
    """Reads and checks a form."""
    form = Form(path)
    reader = _Reader(form, api)
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: reader.begin(tag, attributes, parser.CurrentLineNumber)
    parser.EndElementHandler = lambda tag: reader.end(tag, parser.CurrentLineNumber)
    parser.CharacterDataHandler = reader.text
    parser.Parse(path.read_bytes(), True)
    return form


class _Reader:
    def __init__(self, form: Form, api: Api) -> None:
        self._form, self._api = form, api
        self._owners: list[tuple[str, QtObject | None]] = []
        self._property = self._characters = ""
        self._connection: dict[str, str] = {}

    def begin(self, tag: str, attributes: dict[str, str], line: int) -> None:
        self._characters = ""
        if tag in ("widget", "layout", "spacer"):
            self._owners.append((tag, self._object(tag, attributes, line)))
        elif tag == "property":
            self._property = attributes["name"]
            if attributes.get("stdset") != "0" and self._owners:
                self._check_property(line)

    def end(self, tag: str, line: int) -> None:
        text = self._characters.strip()
        if tag in ("widget", "layout", "spacer"):
            self._owners.pop()
        elif tag == "string" and self._property == "SlicerParameterName":
            self._form.parameters.append((text, line))
        elif tag == "string" and NODE_CLASS.fullmatch(text):
            self._try(lambda: self._api.node(text), line)
        elif tag in ("sender", "signal", "receiver", "slot"):
            self._connection[tag] = text
        elif tag == "connection":
            self._check_connection(line)

    def text(self, characters: str) -> None:
        self._characters += characters

    def _object(self, tag: str, attributes: dict[str, str], line: int) -> QtObject | None:
        if tag == "spacer":
            return None
        cls = "QFrame" if attributes["class"] == "Line" else attributes["class"]
        thing = self._try(lambda: self._api.widget(cls), line)
        if thing is not None and "name" in attributes:
            self._form.widgets[attributes["name"]] = thing
        return thing

    def _check_property(self, line: int) -> None:
        kind, owner = self._owners[-1]
        if owner is not None and self._property not in _DESIGNER.get(kind, ()):
            self._try(lambda: owner.get(self._property), line)
        elif kind == "spacer" and self._property not in _DESIGNER[kind]:
            self._form.problems.append(f"{self._form.path}:{line}: spacer.{self._property} does not exist")

    def _check_connection(self, line: int) -> None:
        for end, member in (("sender", "signal"), ("receiver", "slot")):
            widget, name = self._form.widgets.get(self._connection[end]), self._connection[member].partition("(")[0]
            if widget is None:
                self._form.problems.append(f"{self._form.path}:{line}: {self._connection[end]} does not exist")
            else:
                self._try(lambda widget=widget, name=name: widget.get(name), line)

    def _try(self, look, line: int):
        try:
            return look()
        except Missing as missing:
            self._form.problems.append(f"{self._form.path}:{line}: {missing} does not exist")
            return None
