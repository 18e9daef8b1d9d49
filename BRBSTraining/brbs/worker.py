"""A process that keeps models loaded and segments the scans that it is sent; see :mod:`brbs.worker_client`."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from .agreement import Agreement
from .device import choose_device, keep_freed_memory
from .errors import InputError
from .files import read_json, write_json
from .job import process_exists
from .model import ModelBundle
from .model_description import MODEL_FILE
from .predictor import Predictor
from .study import LabelSchema
from .volumes import read_image, write_image, write_label_map
from .worker_client import ANSWERS, REQUESTS, STOP_FILE

LOOK_SECONDS = 0.02
MOST_MODELS = 2  # kept loaded

log = logging.getLogger("brbs")


@dataclass
class LoadedModel:
    """A model ready for scans; ``agreement`` is None without registration network."""

    predictor: Predictor
    agreement: Agreement | None

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> LoadedModel:
        """Reads a bundle onto a device.

        Raises:
            InputError: no model there, or it is damaged.
        """
        bundle = ModelBundle.load(folder)
        predictor = Predictor(bundle, device)
        registers = bundle.registration is not None and len(bundle.atlas_images) > 0
        return cls(predictor, Agreement(bundle, predictor, device) if registers else None)


class Cancelled(Exception):
    """The client has taken its request back."""


class Worker:
    """Looks after a folder of requests until it is told to stop, has been idle, or its parent process is gone.

    Args:
        folder: requests come and answers go there.
        idle_minutes: time without a request after which it ends.
        parent: number of the process that it serves; None: nobody's.
    """

    def __init__(self, folder: Path, idle_minutes: float, parent: int | None = None) -> None:
        self._folder, self._idle_seconds, self._parent = Path(folder), 60 * idle_minutes, parent
        self._models: OrderedDict[tuple, LoadedModel] = OrderedDict()
        self._ready_for_windows = False

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
            if requests and not self._ready_for_windows:
                self._ready_for_windows = True
                # Seconds to import; a scan larger than the working grid may come next.
                threading.Thread(target=importlib.import_module, args=("monai.inferers",), daemon=True).start()
            time.sleep(LOOK_SECONDS)

    def _ends(self, busy_at: float) -> bool:
        orphan = self._parent is not None and not process_exists(self._parent)
        idle = time.monotonic() - busy_at > self._idle_seconds
        return orphan or idle or (self._folder / STOP_FILE).exists()

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
            answer("failed", message=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        finally:
            path.unlink(missing_ok=True)

    def _refuse_cancelled(self, name: str) -> None:
        if (self._folder / REQUESTS / f"{name}.cancel").exists():
            raise Cancelled

    def _segment(self, request: dict, answer: Callable, check: Callable[[], None]) -> None:
        image = read_image(Path(request["input"]))
        check()
        device = choose_device(request.get("device", "auto"))
        try:
            self._segment_on(device, image, request, answer, check, "")
        except torch.OutOfMemoryError:
            self._models.clear()
            told = f"the memory of {device} is too small for this scan; the processor was used"
            self._segment_on(torch.device("cpu"), image, request, answer, check, told)

    def _segment_on(
        self, device: torch.device, image: sitk.Image, request: dict, answer: Callable, check: Callable, told: str
    ) -> None:
        model = self._model(Path(request["model"]), device)
        check()
        found = model.predictor.segment(image)
        check()
        schema = model.predictor.schema
        write_label_map(found.labels, Path(request["output"]), schema.meta)
        values = {"volumes": volumes(found.labels, schema), "message": told, "device": str(device)}
        answer("segmented", **values)
        confidence = None
        if request.get("confidence") and model.agreement is not None:
            check()
            findings = model.agreement.findings(image)
            confidence = findings.confidence
            if request.get("uncertainty"):
                write_image(findings.uncertainty, Path(request["uncertainty"]))
        answer("finished", confidence=confidence, **values)

    def _model(self, folder: Path, device: torch.device) -> LoadedModel:
        """The model, loaded anew when it has changed on disk."""
        description = folder / MODEL_FILE
        changed = description.stat().st_mtime_ns if description.is_file() else 0
        key = (str(folder), changed, str(device))
        if key not in self._models:
            self._models[key] = LoadedModel.load(folder, device)
        self._models.move_to_end(key)
        while len(self._models) > MOST_MODELS:
            self._models.popitem(last=False)
        return self._models[key]


def volumes(labels: sitk.Image, schema: LabelSchema) -> dict[str, float]:
    """Volume of each structure of a label map in mL, by name."""
    voxel = float(np.prod(labels.GetSpacing())) / 1000
    values = sitk.GetArrayViewFromImage(labels)
    return {label.name: round(voxel * int(np.count_nonzero(values == label.value)), 6) for label in schema.labels}
