"""A process that keeps models loaded and segments the scans that it is sent; see :mod:`brbs.worker_client`."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .device import keep_freed_memory
from .errors import InputError, first_line
from .files import read_json, write_json
from .hidden_names import call_scans
from .process_exists import process_exists
from .segmentation_job import SegmentationJob, Segmenter
from .worker_client import ANSWERS, REQUESTS, STOP_FILE

LOOK_SECONDS = 0.02

log = logging.getLogger("brbs")


class Cancelled(Exception):
    """The client has taken its request back, or the worker is to end."""


class Worker:
    """Looks after a folder of requests until it is told to stop, has been idle, or its parent process is gone.

    In the last case nobody else tidies up, and the folder goes with all that is in it, which may be scans of patients;
    one that does not lie among the computer's temporary files stays, as people may have made it.

    Args:
        folder: requests come and answers go there; it holds nothing else.
        idle_minutes: time without a request after which it ends.
        parent: number of the process that it serves; None: nobody's.
    """

    def __init__(self, folder: Path, idle_minutes: float, parent: int | None = None) -> None:
        self._folder, self._idle_seconds, self._parent = Path(folder), 60 * idle_minutes, parent
        self._segmenter = Segmenter()

    def run(self) -> None:
        """Serves."""
        keep_freed_memory()
        (self._folder / REQUESTS).mkdir(parents=True, exist_ok=True)
        busy_at = time.monotonic()
        while not self._ends(busy_at):
            requests = sorted((self._folder / REQUESTS).glob("*.json"), key=lambda path: path.name)
            requests = [path for path in requests if not path.name.startswith(".")]
            for path in requests:
                self._serve(path)
                busy_at = time.monotonic()
            time.sleep(LOOK_SECONDS)
        if self._orphaned and Path(tempfile.gettempdir()).resolve() in self._folder.resolve().parents:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _orphaned(self) -> bool:
        return self._parent is not None and not process_exists(self._parent)

    def _ends(self, busy_at: float) -> bool:
        idle = time.monotonic() - busy_at > self._idle_seconds
        return self._orphaned or idle or (self._folder / STOP_FILE).exists()

    def _serve(self, path: Path) -> None:
        """Answers a request; whatever is wrong with it, the next one is served, too."""
        name, started = path.stem, time.monotonic()

        def answer(state: str, **values: Any) -> None:
            content = {"state": state, "message": "", "seconds": time.monotonic() - started, **values}
            write_json(self._folder / ANSWERS / f"{name}.json", content)

        try:
            request = read_json(path)
            path.unlink(missing_ok=True)
            answer("running")
            self._segment(request, answer, lambda: self._refuse_cancelled(name))
        except Cancelled:
            answer("failed", message="cancelled")
        except InputError as error:
            answer("failed", message=str(error))
        except Exception as error:  # a bad scan must not end the worker
            log.exception("request %s", name)
            answer("failed", message=first_line(error))
        finally:
            path.unlink(missing_ok=True)

    def _refuse_cancelled(self, name: str) -> None:
        if (self._folder / REQUESTS / f"{name}.cancel").exists() or (self._folder / STOP_FILE).exists():
            raise Cancelled

    def _segment(self, request: dict, answer: Callable, check: Callable[[], None]) -> None:
        result = self._segmenter.run(_job(request), lambda found: answer("segmented", **asdict(found)), check)
        answer("finished", **asdict(result))


def _job(request: dict) -> SegmentationJob:
    if not isinstance(request.get("model"), str) or not {"input", "output"} <= request.keys():
        raise InputError("the request names no model, input or output; send it anew")
    paths = {key: Path(request[key]) for key in ("model", "input", "output", "uncertainty") if request.get(key)}
    call_scans(paths.values(), "file of the request")
    options = {key: request[key] for key in ("device", "components") if key in request}
    return SegmentationJob(**paths, **options, confidence=bool(request.get("confidence")))
