"""The client's side of a worker: requests and answers as files, so that either side may come and go."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

from .components import COMPONENTS
from .errors import InputError
from .files import read_json, write_json

REQUESTS, ANSWERS = "requests", "answers"
STOP_FILE = "stop.request"

_numbers = itertools.count(1)


class WorkerClient:
    """Sends scans to the worker that looks after a folder.

    Args:
        folder: the worker's.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def send(
        self,
        model: str | Path,
        input: str | Path,
        output: str | Path,
        device: str = "auto",
        confidence: bool = True,
        uncertainty: str | Path | None = None,
        components: str = COMPONENTS[0],
    ) -> str:
        """Asks for a scan to be segmented.

        Args:
            model: folder of the model.
            input: the scan.
            output: the label map to be written.
            device: as ``--device`` takes it.
            confidence: also tell the confidence, after the label map is there.
            uncertainty: file for the uncertainty of each voxel; None: none.
            components: which connected pieces of structures stay; see :data:`brbs.components.COMPONENTS`.

        Returns:
            The request's name, for :meth:`answer` and :meth:`cancel`.

        Raises:
            InputError: the folder cannot be written.
        """
        name = f"{os.getpid()}-{next(_numbers)}"
        content = {
            "model": str(model),
            "input": str(input),
            "output": str(output),
            "device": device,
            "confidence": confidence,
            "uncertainty": None if uncertainty is None else str(uncertainty),
            "components": components,
        }
        write_json(self.folder / REQUESTS / f"{name}.json", content)
        return name

    def answer(self, name: str) -> dict[str, Any] | None:
        """What the worker has said of a request: "state" ("running", "segmented", "finished" or "failed"), "message",
        then "volumes" (mL by structure), "confidence" (by structure, or null) and "seconds"; None: nothing yet."""
        try:
            return read_json(self.folder / ANSWERS / f"{name}.json")
        except InputError:
            return None

    def cancel(self, name: str) -> None:
        """Takes a request back; the worker leaves it at the next opportunity."""
        (self.folder / REQUESTS / f"{name}.json").unlink(missing_ok=True)
        (self.folder / REQUESTS).mkdir(parents=True, exist_ok=True)
        (self.folder / REQUESTS / f"{name}.cancel").touch()

    def stop(self) -> None:
        """Asks the worker to end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / STOP_FILE).touch()
