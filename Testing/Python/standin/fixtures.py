"""Fixtures that tests of scene code and of widgets share."""

import pytest


@pytest.fixture
def scene():
    """A fresh `slicer.mrmlScene` with working `slicer.modules`; cleared afterwards."""
    from standin.scene import installScene

    scene = installScene()
    yield scene
    scene.Clear(0)


@pytest.fixture
def application(scene):
    """``slicer.app``, with a fresh scene, empty settings and an empty record; an exception in a slot fails the test."""
    from PyQt5.QtCore import QEvent

    from standin.application import record
    from standin.widgets import installWidgets

    application = installWidgets()
    application.settings().clear()
    record()
    yield application
    # a test may leave widgets behind that watch the scene: they see it closed while they live, and no more afterwards
    scene.Clear(0)
    scene.RemoveAllObservers()
    for widget in application.topLevelWidgets():
        widget.close()
        widget.deleteLater()
    application.sendPostedEvents(None, QEvent.DeferredDelete)
    assert application.recorded.slotErrors == []
