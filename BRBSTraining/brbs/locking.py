"""One training of a study at a time, on all computers that share its folder."""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import InputError
from .hidden_names import call_folder, call_people
from .job import ACTIVE_STATES, SILENCE_SECONDS, JobReader, user_name
from .model_folder import TRAINING_FOLDER
from .process_exists import process_exists

LOCK_FILE = "training.lock"
SETTLING_SECONDS = 0.1  # longer than two that take over a lock need to notice each other

log = logging.getLogger("brbs")


@dataclass(frozen=True)
class _Lock:
    """Content of a lock file: who has been training since when (Unix seconds), and the job's folder."""

    user: str
    host: str
    pid: int
    started: float
    job: str

    def is_held(self, study_folder: Path) -> bool:
        """Whether that training lives; one just beginning need not have said so yet."""
        if self.host == platform.node() and not process_exists(self.pid):
            return False
        job = JobReader(study_folder / self.job)
        try:
            if job.description.get("pid") == self.pid and job.description["state"] not in ACTIVE_STATES:
                return False  # it has said that it has ended, and is just leaving
            return time.time() - self.started < SILENCE_SECONDS or job.active
        except InputError:  # of a newer version, or damaged
            return True

    def sentence(self, study_folder: Path) -> str:
        """Who trains the study, for people."""
        model = Path(self.job).parent if Path(self.job).name == TRAINING_FOLDER else Path(self.job)
        who = f"{self.user} on {self.host}"
        return _sentence(study_folder, who, self.started, f" ({model.as_posix()})")


@contextmanager
def study_lock(study_folder: str | Path, job_folder: str | Path) -> Iterator[None]:
    """Keeps others from training a study while the block runs. A lock whose training is dead is taken over.

    A folder that cannot be written is not locked; the log says so.

    Args:
        study_folder: made when missing, and removed again if nothing comes into it.
        job_folder: folder of the training's job, see :mod:`brbs.job`.

    Raises:
        InputError: somebody else trains the study; the message says who.
    """
    folder = Path(os.path.abspath(study_folder))
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    mine = _Lock(user_name(), platform.node(), os.getpid(), time.time(), _stored(job_folder, folder))
    locked = False
    try:
        locked = _acquire(folder, mine)
        yield
    finally:
        if locked:
            _release(folder, mine)
        for path in made:
            with suppress(OSError):
                path.rmdir()


def lock_holder(study_folder: str | Path) -> str | None:
    """Who trains a study now and what to do, as a sentence for people; None: nobody."""
    folder = Path(study_folder)
    path = folder / LOCK_FILE
    content = _content(path)
    if content is None:
        return None
    lock = _parsed(content)
    if lock is not None:
        _hide(lock, folder)
        return lock.sentence(folder) if lock.is_held(folder) else None
    with suppress(OSError):
        written = path.stat().st_mtime
        if time.time() - written < SILENCE_SECONDS:  # its owner may still be writing it
            return _sentence(folder, "somebody", written)
    return None


def _acquire(folder: Path, mine: _Lock) -> bool:
    """Makes the lock file; False where the folder cannot be written."""
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not _settled(path, mine):
            found = _content(path)
            if holder := lock_holder(folder):
                raise InputError(holder)
            if found is not None:
                _take_away(path, found)
    except OSError as error:
        log.warning("%s: cannot be locked (%s); see that nobody else trains it", folder, error.strerror or error)
        return False
    return True


def _settled(path: Path, mine: _Lock) -> bool:
    """Whether the lock file could be made and stays; of several that take over a dead one at once, one keeps it."""
    if not _made(path, mine):
        return False
    time.sleep(SETTLING_SECONDS)
    return _parsed(_content(path) or b"") == mine


def _made(path: Path, lock: _Lock) -> bool:
    """Whether the lock file could be made; False where there is one."""
    try:
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            json.dump(asdict(lock), stream, ensure_ascii=False)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_away(path: Path, dead: bytes) -> None:
    """Removes a lock file if its content is still ``dead``."""
    aside = path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    if _content(aside) != dead:  # somebody was quicker, and this is their new lock
        with suppress(FileExistsError):  # Windows, where a third one has made theirs
            os.rename(aside, path)
        aside.unlink(missing_ok=True)
        return
    aside.unlink()
    lock = _parsed(dead)
    if lock is not None:
        _hide(lock, path.parent)
    whose = f"{lock.user} on {lock.host}" if lock else "somebody"
    log.warning("%s: the training of %s has ended without a word; its lock is taken over", path.parent, whose)


def _release(folder: Path, mine: _Lock) -> None:
    path = folder / LOCK_FILE
    if _parsed(_content(path) or b"") == mine:
        with suppress(OSError):  # left behind, it is seen to be dead
            path.unlink()


def _content(path: Path) -> bytes | None:
    """Bytes of a file; None where there is none, empty where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def _parsed(content: bytes) -> _Lock | None:
    try:
        lock = _Lock(**json.loads(content))
        numbers, texts = (lock.pid, lock.started), (lock.user, lock.host, lock.job)
    except (ValueError, TypeError):
        return None
    right = all(type(value) in (int, float) and 0 <= value < 2**33 for value in numbers)
    right = right and type(lock.pid) is int and all(isinstance(value, str) and "\0" not in value for value in texts)
    return lock if right else None


def _hide(lock: _Lock, study_folder: Path) -> None:
    """Keeps who trains, and where, out of logs without names."""
    call_people(lock.user, lock.host)
    call_folder((study_folder / lock.job).parent, "model being trained")


def _stored(job_folder: str | Path, study_folder: Path) -> str:
    """The job's folder, relative where it lies in the study, so that other computers find it."""
    path = Path(os.path.abspath(job_folder))
    return path.relative_to(study_folder).as_posix() if path.is_relative_to(study_folder) else str(path)


def _sentence(study_folder: Path, who: str, started: float, where: str = "") -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
    return f"{study_folder}: {who} has been training it since {since}{where}; wait for it or stop it first"
