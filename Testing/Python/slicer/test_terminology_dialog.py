"""The dialogue in which a standard term is chosen."""

from __future__ import annotations

import pytest
import slicer


@pytest.fixture
def askTerminology(application, monkeypatch):
    """The function, with a navigator in which the user chooses what it was opened with."""
    import qt

    from BRBSTrainingLib.TerminologyDialog import askTerminology

    class Navigator(qt.QWidget):
        def setTerminologyEntry(self, entry) -> None:
            """Shows a term."""

        def terminologyEntry(self, entry) -> bool:
            """Tells the chosen term."""
            return True

    monkeypatch.setattr(slicer, "qSlicerTerminologyNavigatorWidget", Navigator, raising=False)
    return askTerminology


@pytest.mark.parametrize("answer", ["Accepted", "Rejected", "fails"])
def test_dialogue_goes_when_it_is_answered(askTerminology, monkeypatch, answer: str) -> None:
    import qt

    def answered(dialog) -> int:
        if answer == "fails":
            raise RuntimeError("no terminologies")
        return getattr(qt.QDialog, answer)

    monkeypatch.setattr(qt.QDialog, "exec_", answered)
    parent = qt.QWidget()
    if answer == "fails":
        with pytest.raises(RuntimeError, match="no terminologies"):
            askTerminology("", parent)
    else:
        assert (askTerminology("", parent) is not None) == (answer == "Accepted")
    assert parent.findChildren(qt.QDialog)
    slicer.app.sendPostedEvents(None, qt.QEvent.DeferredDelete)
    assert not parent.findChildren(qt.QDialog)
