"""The panel's list of scans to be annotated next."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from brbs.absence import mean_confidence
from brbs.ranking import RankedScan
from BRBSTrainingLib.RowTable import BAD, Row, RowTable

from .Confidence import absentText, confidenceAdvice, confidenceMark, confidenceText, weakestText
from .StudyRanking import StudyRanking


class RankingSection:
    """Ranks the unlabeled scans of the model's study, and opens one to be corrected into an atlas.

    Args:
        ui: the panel's widgets.
        logic: the module's logic.
        guard: runs a function and shows what is wrong with its input.
        device: gives the chosen device.
        busy: tells whether a scan is being segmented, so that no other can be opened.
        open: loads a scan and segments it; called with its path.
    """

    def __init__(self, ui, logic, guard, device: Callable[[], str], busy: Callable[[], bool], open: Callable) -> None:
        self._ui, self._device, self._busy = ui, device, busy
        self._openTip = ui.openRankedButton.toolTip
        self._model = None
        self._study = StudyRanking(logic.engine)
        self._table = RowTable(ui.rankTable, [_("Scan"), _("Confidence"), _("Weakest")])
        ui.rankButton.connect("clicked(bool)", lambda checked: guard(self._startOrStop))
        ui.openRankedButton.connect("clicked(bool)", lambda checked: guard(lambda: open(self._table.selected()[0])))
        ui.rankTable.connect("itemSelectionChanged()", self.updateButtons)

    def choose(self, model) -> None:
        """Turns to another model; None: none."""
        self._model = model
        study = model.study if model is not None else None
        self._study.choose(model.folder if study else None, study)
        self.update()

    def tick(self) -> None:
        """Takes in what has been ranked."""
        if self._study.poll():
            self.update()

    def update(self) -> None:
        """Shows what is known now."""
        self._table.show([_row(item) for item in self._study.scans()])
        self._ui.rankLabel.text = self._text()
        self.updateButtons()

    def updateButtons(self) -> None:
        """Enables what can be done now."""
        self._ui.rankButton.text = _("Stop") if self._study.busy else _("Rank scans")
        self._ui.rankButton.enabled = self._model is not None and self._model.study is not None
        busy = self._busy()
        self._ui.openRankedButton.enabled = len(self._table.selected()) == 1 and not busy
        self._ui.openRankedButton.toolTip = _("A scan is being segmented.") if busy else self._openTip

    def close(self) -> None:
        """Ends ranking; what is known stays."""
        self._study.close()

    def _startOrStop(self) -> None:
        if self._study.busy:
            self._study.close()
        else:
            self._study.start(self._device())
        self.update()

    def _text(self) -> str:
        if self._model is None:
            return _("Choose a model first.")
        if self._model.study is None:
            return _("This model was not trained in a study of this computer; train one to use this.")
        ranking = self._study.ranking
        if self._study.problem:
            return self._study.problem
        if ranking is None:
            return _("Looking at the scans…") if self._study.busy else _("Not ranked with this model yet.")
        if ranking.waiting:
            return _("{count} scans have not been looked at yet.").format(count=ranking.waiting)
        return _("Annotate the first ones next, then train again.")


def _row(item: RankedScan) -> Row:
    if not item.confidence:
        text = item.message or _("not known")
        return Row(item.scan, (item.scan.name, _("not usable"), ""), BAD, f"{text}\n{item.scan}")
    mean = mean_confidence(item.confidence)
    mark = confidenceMark(mean)
    cells = (item.scan.name, confidenceText(mean), "" if mean is None else weakestText(item.confidence))
    told = [confidenceAdvice(mark), absentText(item.confidence), str(item.scan)]
    return Row(item.scan, cells, mark, "\n".join(filter(None, told)))
