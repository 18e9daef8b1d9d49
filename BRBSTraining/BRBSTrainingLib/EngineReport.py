"""What the engine can do on this computer, as its own Python tells."""

from __future__ import annotations

import json
from typing import Any

from slicer.i18n import tr as _

from brbs.errors import InputError

from .Engine import Engine
from .EngineCall import EngineCall


class EngineReport:
    """Asks the engine's Python in a child process for versions, missing packages, devices and their speed.

    Attributes:
        content: what it said, as ``brbs.device_report`` describes it; empty before and while it is asked.
        problem: why the engine cannot be used, with the remedy; empty: it can.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._call: EngineCall | None = None
        self.content: dict[str, Any] = {}
        self.problem = ""

    @property
    def busy(self) -> bool:
        """Whether the answer is awaited."""
        return self._call is not None

    @property
    def usable(self) -> bool:
        """Whether the engine has all it needs to train."""
        return bool(self.content) and not self.problem

    @property
    def lacksPackages(self) -> bool:
        """Whether installing Python packages would make the engine usable."""
        return bool(self.content.get("missing"))

    def ask(self, timed: bool = True) -> None:
        """Starts asking; drops what was known.

        Args:
            timed: also how fast each device is, which takes seconds longer.
        """
        self.close()
        self.content, self.problem = {}, ""
        try:
            self._call = EngineCall(self._engine, ["-m", "brbs.device_report", *([] if timed else ["--untimed"])])
        except InputError as error:
            self.problem = str(error)

    def poll(self) -> bool:
        """Takes the answer if it is there; true when it has just come."""
        if self._call is None or self._call.exitCode is None:
            return False
        lines, last = self._call.text.splitlines(), self._call.lastLine
        self.close()
        try:
            # One line among whatever packages print when they are imported.
            self.content = json.loads(next(line for line in reversed(lines) if line.startswith('{"brbs"')))
            self.problem = self._complaint()
        except (StopIteration, ValueError):
            problem = _("{python}: cannot run the engine ({last}); choose another engine Python")
            self.problem = problem.format(python=self._engine.python, last=last)
        return True

    def close(self) -> None:
        """Ends asking."""
        if self._call is not None:
            self._call.close()
            self._call = None

    def _complaint(self) -> str:
        broken, missing = self.content.get("broken") or {}, self.content.get("missing") or []
        if broken:
            name, reason = next(iter(broken.items()))
            said = _("{name} is there but does not start ({reason}); install it again, or choose another engine Python")
            return said.format(name=name, reason=reason)
        if missing:
            said = _("The engine needs Python packages that are not installed yet: {names}.")
            return said.format(names=", ".join(missing))
        return ""
