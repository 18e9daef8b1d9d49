"""The folder that a training writes to: whether it may, and what it leaves when it does not get as far as training."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .errors import InputError
from .files import replacing
from .job import EVENTS_FILE, JOB_FILE, JobReader
from .model_description import MODEL_FILE
from .model_preview import PREVIEW_FILE

TRAINING_FOLDER = "training"
PREPARED_FILE = "prepared.npz"
CHECKPOINT_FILE = "last.pt"


def check_model_folder(output: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Refuses a folder that holds a model (without ``overwrite``), other people's files, or a training that runs.

    A folder in which a training is queued, or has ended before it began, may be written.

    Raises:
        InputError: as said.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder for the model")
    training = output / TRAINING_FOLDER
    if JobReader(training).active:
        raise InputError(f"{output}: a training runs here already; stop it first or choose another --output")
    if resume:
        return
    names = {path.name for path in output.iterdir() if not path.name.startswith(".")} if output.is_dir() else set()
    if MODEL_FILE in names or (training / CHECKPOINT_FILE).is_file():
        if not overwrite:
            raise InputError(f"{output}: holds another model; --resume goes on with it, --overwrite replaces it")
    elif names - {TRAINING_FOLDER} and not (training / JOB_FILE).exists():
        raise InputError(f"{output}: is not empty and holds no model; choose a new folder")


def remove_model(output: Path) -> None:
    """Removes what an earlier training wrote, and nothing else; ``job.json`` is that of the new one already."""
    training = output / TRAINING_FOLDER
    model = [output / MODEL_FILE, output / PREVIEW_FILE, *output.glob("*.safetensors")]
    for path in [*model, *training.glob("*.pt"), training / EVENTS_FILE]:
        path.unlink(missing_ok=True)


class TrainingFolder:
    """Takes back what a training has done to its folder if it ends before it has begun to train.

    Use it in a ``with`` block around the job. Unless :meth:`keep` is called, ``job.json`` of an earlier training is put
    back at the end; after an exception, folders that were not there before are removed. A folder in which the job was
    queued stays, so that its watcher learns what has happened.

    Args:
        folder: the job's folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._missing = [path for path in (folder, *folder.parents) if not path.exists()]
        self._earlier: bytes | None = None
        self._kept = False

    def __enter__(self) -> TrainingFolder:
        if JobReader(self.folder).description.get("state", "queued") != "queued":
            self._earlier = (self.folder / JOB_FILE).read_bytes()
        return self

    def keep(self) -> None:
        """From now on the folder is the new training's."""
        self._kept = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._kept:
            return
        if self._earlier is not None:
            with suppress(InputError), replacing(self.folder / JOB_FILE) as aside:
                aside.write_bytes(self._earlier)
        if error is not None and self._missing:
            shutil.rmtree(self.folder, ignore_errors=True)
            for path in self._missing[1:]:
                with suppress(OSError):
                    path.rmdir()
