"""Puts ``qt``, ``ctk`` and the widgets' part of ``slicer`` in place, over PyQt5."""

import sys
from types import ModuleType


def installWidgets():
    """Starts Qt and makes ``import qt``, ``import ctk``, ``slicer.app``, ``slicer.qMRML...`` etc. work.

    Returns:
        ``slicer.app``.

    Raises:
        ImportError: PyQt5, slicer-core or a system library is missing.
    """
    from standin.application import Application, record, startApplication
    from standin.scene import slicer

    if not hasattr(slicer, "app"):
        running = startApplication()
        _installQt()
        # these build upon qt and ctk
        from standin import mrml_widgets, parameter_node, scripted_module  # noqa: F401

        parameter_node.install()
        scripted_module.install()
        slicer.app = Application(running)
        record()
    return slicer.app


def _installQt() -> None:
    from standin.python_qt import qtModule

    sys.modules["qt"] = qtModule()
    from standin import ctk_widgets
    from standin.ui_loader import QUiLoader

    sys.modules["qt"].QUiLoader = QUiLoader
    ctk = sys.modules["ctk"] = ModuleType("ctk")
    vars(ctk).update({name: value for name, value in vars(ctk_widgets).items() if name.startswith("ctk")})
