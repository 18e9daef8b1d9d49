"""The study's unlabeled scans in the order in which annotating them helps most."""

from __future__ import annotations

from pathlib import Path

from brbs.errors import InputError
from brbs.model_description import model_identity
from brbs.ranking import RANKING_FILE, Ranking
from BRBSTrainingLib.Engine import Engine
from BRBSTrainingLib.EngineCall import EngineCall
from BRBSTrainingLib.StudyFolder import StudyFolder


class StudyRanking:
    """Has a study's scans ranked in a child process that writes as it goes, and reads what it has written.

    Args:
        engine: which Python to run it in.

    Attributes:
        ranking: what is known of the chosen study by the chosen model; None: nothing.
        problem: why the last ranking ended before its end; "" if it did not.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._call: EngineCall | None = None
        self._model: Path | None = None
        self._study: Path | None = None
        self._stamp = 0
        self.ranking: Ranking | None = None
        self.problem = ""

    @property
    def busy(self) -> bool:
        """Whether scans are being looked at."""
        return self._call is not None

    def choose(self, model: Path | None, study: Path | None) -> None:
        """Turns to a model and the study that it was trained in; ends what is running for another."""
        if (model, study) == (self._model, self._study):
            return
        self.close()
        self._model, self._study, self._stamp, self.ranking, self.problem = model, study, 0, None, ""
        self._read()

    def start(self, device: str) -> None:
        """Begins, or goes on with what is not known yet.

        Raises:
            InputError: the engine cannot be started.
        """
        self.problem = ""
        arguments = ["-m", "brbs", "rank", "--model", self._model, "--study", self._study, "--device", device]
        self._call = EngineCall(self._engine, arguments)

    def poll(self) -> bool:
        """Takes in what is new; true when something is."""
        if self._call is None:
            return False
        code = self._call.exitCode
        changed = self._read()
        if code is None:
            return changed
        if code != 0:
            self.problem = self._call.lastLine.removeprefix("brbs: ")
        self.close()
        return True

    def close(self) -> None:
        """Ends it; what is known stays."""
        if self._call is not None:
            self._call.close()
            self._call = None

    def _read(self) -> bool:
        """Reads the file if it has changed; scans that are unlabeled no longer are left out."""
        if self._study is None:
            return False
        path = self._study / RANKING_FILE
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            found = Ranking.load(path)
            current = found is not None and found.model == model_identity(self._model)
            self.ranking = found if current else None
        except InputError as error:
            self.ranking, self.problem = None, str(error)
        return True

    def scans(self) -> list:
        """Ranked scans that are still unlabeled in the study, the least confident first."""
        if self.ranking is None:
            return []
        try:
            unlabeled = set(StudyFolder.open(self._study).study.unlabeled)
        except InputError:
            return []
        return [item for item in self.ranking.scans if item.scan in unlabeled]
