"""The engine generating what the inspector shows: a process whose end is awaited without blocking."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from brbs.errors import InputError

from .Engine import Engine
from .EngineCall import EngineCall

SAMPLES = 12  # drawn for the sheet


@dataclass(frozen=True)
class InspectorRequest:
    """What is to be generated.

    Attributes:
        model: folder of a model bundle.
        atlas: name of one of its atlases, or a file of that name.
        style: scan whose style is taken.
        space: scan whose shape is taken.
        spaceLabels: its label map, to tell how well the atlas is brought over it.
        study: folder of the study that the scans have to be in; None: they may be anywhere.
        checkpoint: whether to take the networks of the training's last checkpoint instead of the model's.
        device: as the engine names devices.
        samples: how many to draw for the sheet.
    """

    model: Path
    atlas: str
    style: Path
    space: Path
    spaceLabels: Path | None = None
    study: Path | None = None
    checkpoint: bool = False
    device: str = "auto"
    samples: int = SAMPLES

    def arguments(self, output: Path) -> list[str]:
        """What follows ``python`` to generate into a folder."""
        options = {
            "--model": self.model,
            "--atlas": self.atlas,
            "--style": self.style,
            "--space": self.space,
            "--space-labels": self.spaceLabels,
            "--study": self.study,
            "--samples": self.samples or None,
            "--device": self.device,
            "--output": output,
        }
        given = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
        return ["-m", "brbs", "warp", *given, *(["--checkpoint"] if self.checkpoint else [])]


class InspectorRun:
    """One run after the other; the files of the last one that succeeded are kept until :meth:`close`.

    Args:
        engine: which Python to start.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._call: EngineCall | None = None
        self._next: tempfile.TemporaryDirectory | None = None
        self._done: tempfile.TemporaryDirectory | None = None

    @property
    def busy(self) -> bool:
        """Whether a run has not ended yet."""
        return self._call is not None

    @property
    def folder(self) -> Path | None:
        """The files of the last run that succeeded; None: there is none."""
        return Path(self._done.name) if self._done else None

    def start(self, request: InspectorRequest) -> None:
        """Starts a run; one that has not ended is given up.

        Raises:
            InputError: the engine cannot be started.
        """
        self.cancel()
        self._next = tempfile.TemporaryDirectory(prefix="BRBS-", ignore_cleanup_errors=True)
        self._call = EngineCall(self._engine, request.arguments(Path(self._next.name)))

    def poll(self) -> bool:
        """Whether a run has succeeded since the last call.

        Raises:
            InputError: it has failed; the engine's own words.
        """
        if self._call is None or self._call.exitCode is None:
            return False
        code, said = self._call.exitCode, self._call.lastLine
        self._call.close()
        self._call = None
        if code:
            self.cancel()
            raise InputError(said.removeprefix("brbs: "))
        if self._done is not None:
            self._done.cleanup()
        self._done, self._next = self._next, None
        return True

    def cancel(self) -> None:
        """Gives up a run that has not ended."""
        if self._call is not None:
            self._call.close()
            self._call = None
        if self._next is not None:
            self._next.cleanup()
            self._next = None

    def close(self) -> None:
        """Gives up a run that has not ended, and removes the files of the last one."""
        self.cancel()
        if self._done is not None:
            self._done.cleanup()
            self._done = None
