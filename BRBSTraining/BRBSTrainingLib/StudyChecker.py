"""Looks at all files of a study in a child process, so that Slicer never waits for a slow disk."""

from __future__ import annotations

from slicer.i18n import tr as _

from brbs.checks import FOUND_UNUSABLE, CheckedItem, Key, judge, read_checks
from brbs.errors import InputError

from .Engine import Engine
from .EngineCall import EngineCall
from .StudyFolder import StudyFolder


class StudyChecker:
    """Keeps what is known of a study's files up to date.

    Attributes:
        items: what is known, by (scan, label map or None); an item still being looked at is not among them.
        problem: why the check itself failed; empty: it did not.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._study: StudyFolder | None = None
        self._call: EngineCall | None = None
        self._again = False
        self.items: dict[Key, CheckedItem] = {}
        self.problem = ""

    @property
    def busy(self) -> bool:
        """Whether files are being looked at."""
        return self._call is not None

    def check(self, study: StudyFolder | None) -> None:
        """Looks at the files of a study that are new or have changed; None: at nothing any more."""
        other = study is not self._study
        self._study = study
        if other:
            self.close()
            self.items = {}
        if study is None:
            return
        self._read()
        self._again = self.busy
        if not self.busy:
            self._start()

    def poll(self) -> bool:
        """Takes in what has been found since; true when there is something new."""
        if not self.busy:
            return False
        code = self._call.exitCode
        if code is not None:
            problem = _("The scans could not be checked: {reason}").format(reason=self._call.lastLine)
            self.problem = "" if code in (0, FOUND_UNUSABLE) else problem
            self._stop()
        changed = self._read() or code is not None
        if code is not None and self._again:
            self._again = False
            self._start()
        return changed

    def close(self) -> None:
        """Stops looking."""
        self._stop()
        self._again = False

    def _stop(self) -> None:
        if self._call is not None:
            self._call.close()
            self._call = None

    def _start(self) -> None:
        self.problem = ""
        try:
            self._call = EngineCall(self._engine, ["-m", "brbs", "check", "--study", self._study.folder], own=True)
        except InputError as error:
            self.problem = str(error)

    def _read(self) -> bool:
        """Reads what is known; true when it has changed."""
        raw = read_checks(self._study.folder, self._study.study)
        judged = {item.key: item for item in judge(raw.values(), self._study.study.schema)}
        changed = judged != self.items
        self.items = judged
        return changed
