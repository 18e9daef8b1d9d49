"""Reads .ui files as Slicer's ``qt.QUiLoader`` does, with our stand-ins for CTK's and Slicer's widgets."""

import io
import xml.etree.ElementTree as ElementTree

from PyQt5 import QtCore, uic

from standin.python_qt import asPyQt


class QUiLoader:
    """Makes the widget that a .ui file describes."""

    def load(self, file):
        """Returns the top-level widget of an open QFile."""
        tree = ElementTree.fromstring(bytes(file.readAll()))
        connections = tree.find("connections")
        tree.remove(connections) if connections is not None else None
        _useStandIns(tree)
        with asPyQt():
            widget = uic.loadUi(io.BytesIO(ElementTree.tostring(tree)))
        for name in list(vars(widget)):
            if not name.startswith("_"):  # uic's; in Slicer a widget does not know its children by name
                delattr(widget, name)
        for connection in connections if connections is not None else ():
            _connect(widget, *(connection.find(tag).text for tag in ("sender", "signal", "receiver", "slot")))
        return widget


def _useStandIns(tree) -> None:
    custom = set()
    for element in tree.iter("customwidget"):
        name = element.find("class").text
        custom.add(name)
        element.find("header").text = "ctk" if name.startswith("ctk") else "slicer"
    for element in tree.iter("widget"):
        if element.get("class") in custom:
            for child in element.findall("property"):
                child.set("stdset", "0")  # as a Qt property: the stand-ins have few setters


def _connect(widget, sender: str, signal: str, receiver: str, slot: str) -> None:
    ends = {child.name: child for child in [widget, *widget.findChildren(QtCore.QObject)]}
    ends[sender].connect(signal, getattr(ends[receiver], slot.partition("(")[0]))
