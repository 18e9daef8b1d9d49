"""A background job as a folder: written by the engine, read by whoever watches.

``job.json`` holds the state, ``events.jsonl`` one JSON object a line, ``stop.request``, ``pause.request`` and
``sample.request`` are requests to the job. The job lives on when its watcher goes, and the watcher finds it again by
its folder.
"""

from __future__ import annotations

import getpass
import json
import math
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import InputError
from .files import plain, read_json, write_json
from .process_exists import process_exists

FORMAT = 1
JOB_FILE = "job.json"
EVENTS_FILE = "events.jsonl"
STOP_FILE = "stop.request"
PAUSE_FILE = "pause.request"
SAMPLE_FILE = "sample.request"

HEARTBEAT_SECONDS = 10.0
SILENCE_SECONDS = 60.0

ACTIVE_STATES = ("running", "paused")
NOT_STARTED = "the engine did not start"


def queue_job(folder: str | Path, **description: Any) -> None:
    """Announces a job whose process is about to be started; requests to an earlier job in the folder are dropped.

    Args:
        folder: the job's folder; made when missing.
        description: entries of ``job.json`` until the job starts.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(folder)
    write_json(folder / JOB_FILE, {**description, **_beginning("queued", pid=0)})
    _drop_requests(folder)


def fail_queued_job(folder: str | Path, error: BaseException) -> None:
    """Tells the watcher of a job that is still queued why it will not start; any other job is left alone."""
    path = Path(folder) / JOB_FILE
    with suppress(InputError):  # the reason itself is told elsewhere
        content = read_json(path, newest_format=FORMAT) if path.exists() else {}
        if content.get("state") == "queued":
            write_json(path, {**content, "state": "failed", "message": _reason(error), "heartbeat": time.time()})


@contextmanager
def telling_the_queue(folder: str | Path) -> Iterator[None]:
    """Whoever has queued the job of a folder learns why it does not start."""
    try:
        yield
    except BaseException as error:
        fail_queued_job(folder, error)
        raise


def user_name() -> str:
    """Who is logged in; "somebody" where the system does not tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"


def _beginning(state: str, pid: int) -> dict[str, Any]:
    now = time.time()
    return {
        "format": FORMAT,
        "pid": pid,
        "host": platform.node(),
        "state": state,
        "started": now,
        "heartbeat": now,
        "progress": 0.0,
        "message": "",
    }


def _drop_requests(folder: Path) -> None:
    for name in (STOP_FILE, PAUSE_FILE, SAMPLE_FILE):
        (folder / name).unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__


class JobWriter:
    """The engine's side of a job; use it in a ``with`` block.

    Making it starts the job. In the folder of an earlier job its requests are dropped, its events kept and added to;
    those made while this job was queued count. A thread renews the heartbeat every ten seconds. At the end of the block
    a job still active becomes ``finished``, or ``failed`` with the exception's message.

    Args:
        folder: the job's folder; made when missing.
        description: further entries of ``job.json`` (what the job is, where its result goes).

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, **description: Any) -> None:
        self.folder = Path(folder)
        self._content: dict[str, Any] = {**description, **_beginning("running", os.getpid())}
        self._lock = threading.Lock()
        self._begun = False
        self._ended = threading.Event()
        if not self._was_queued():
            _drop_requests(self.folder)
        self._write()
        self._begun = True
        self._end_broken_line()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def __enter__(self) -> JobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._heart.join()  # so that nothing is written after the end
        if error is not None:
            with suppress(InputError):  # the error says more
                self.update(state="failed", message=_reason(error))
        elif self._content["state"] in ACTIVE_STATES:
            self.update(state="finished", progress=1.0)

    @property
    def stop_requested(self) -> bool:
        """Whether the job has been asked to end (with a checkpoint)."""
        return (self.folder / STOP_FILE).exists()

    @property
    def pause_requested(self) -> bool:
        """Whether the job has been asked to rest; no longer true once it is resumed."""
        return (self.folder / PAUSE_FILE).exists()

    @property
    def sample_requested(self) -> bool:
        """Whether somebody wants to see what the job is working with."""
        return (self.folder / SAMPLE_FILE).exists()

    def clear_sample_request(self) -> None:
        """Takes the request for a sample as answered."""
        with suppress(PermissionError):  # Windows, while the watcher makes it: it is seen again
            (self.folder / SAMPLE_FILE).unlink(missing_ok=True)

    def describe(self, **description: Any) -> None:
        """Adds entries to ``job.json``.

        Raises:
            InputError: the file cannot be written.
        """
        self._write(description)

    def update(self, state: str | None = None, progress: float | None = None, message: str | None = None) -> None:
        """Changes what ``job.json`` says; also a heartbeat.

        Args:
            state: "running", "paused", "finished" or "failed".
            progress: 0..1.
            message: one line for people.

        Raises:
            InputError: the file cannot be written.
        """
        news = {"state": state, "progress": progress, "message": message}
        self._write({key: value for key, value in news.items() if value is not None})

    def event(self, kind: str, **values: Any) -> None:
        """Appends an event: its kind, the time (Unix seconds) and JSON values.

        Raises:
            InputError: the file cannot be written.
        """
        line = json.dumps({"time": time.time(), "kind": kind, **values}, ensure_ascii=False, default=plain)
        path = self.folder / EVENTS_FILE
        try:
            with path.open("a", encoding="utf-8", newline="\n") as stream:
                stream.write(line + "\n")
        except OSError as error:
            self._refuse_gone_folder()
            raise InputError(f"{path}: cannot be written ({error.strerror}); check the free disk space") from error

    def _refuse_gone_folder(self) -> None:
        """A folder that has been moved meanwhile is not made anew: nobody would look there."""
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: is gone; if it has been moved or renamed, go on with it where it is now")

    def _was_queued(self) -> bool:
        try:
            return JobReader(self.folder).description.get("state", "queued") == "queued"  # for however long
        except InputError:  # damaged, or of a newer version; it is replaced
            return False

    def _write(self, news: dict[str, Any] | None = None) -> None:
        with self._lock:
            if self._begun:
                self._refuse_gone_folder()
            self._content |= {**(news or {}), "heartbeat": time.time()}
            write_json(self.folder / JOB_FILE, self._content)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self._write()
            except InputError:
                pass  # the next update says it to somebody who can act on it

    def _end_broken_line(self) -> None:
        """Ends a line that a killed predecessor left half-written, so that the next event stands on its own."""
        path = self.folder / EVENTS_FILE
        content = path.read_bytes()[-1:] if path.exists() else b""
        if content not in (b"", b"\n"):
            with path.open("ab") as stream:
                stream.write(b"\n")


class JobReader:
    """The watcher's side of a job; every property looks at the folder anew.

    Args:
        folder: the job's folder; it need not exist yet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def description(self) -> dict[str, Any]:
        """The content of ``job.json``; empty before the job has started.

        Raises:
            InputError: the file is damaged or of a newer format.
        """
        path = self.folder / JOB_FILE
        content = read_json(path, newest_format=FORMAT) if path.exists() else {}
        if not _is_description(content):
            raise InputError(f"{path}: is damaged, as it holds values of a wrong type; restore or remove it")
        return content

    @property
    def state(self) -> str:
        """One of "queued", "running", "paused", "stopping", "finished" and "failed".

        A job that says it is queued or active, but has been silent for a minute or whose process is gone, has failed.
        """
        return self._state(self.description)

    def _state(self, content: dict[str, Any]) -> str:
        state = content.get("state", "queued")
        if state not in ("queued", *ACTIVE_STATES):
            return state
        if self.is_gone(content) or self.is_silent(content):
            return "failed"
        return "stopping" if state != "queued" and self.stop_requested else state

    def is_gone(self, content: dict[str, Any]) -> bool:
        """Whether the process of a job that says it has not ended is certainly gone; of other computers nobody knows.

        Args:
            content: of ``job.json``.
        """
        begun, here = content.get("state", "queued") != "queued", content.get("host") == platform.node()
        return begun and here and not process_exists(content.get("pid", 0))

    def is_silent(self, content: dict[str, Any]) -> bool:
        """Whether a job that says it has not ended has given no sign of life for a minute.

        Args:
            content: of ``job.json``.
        """
        return bool(content) and time.time() - content.get("heartbeat", 0.0) > SILENCE_SECONDS

    @property
    def active(self) -> bool:
        """Whether its process works, rests or is about to stop; that of a queued job has not begun."""
        return self.state in (*ACTIVE_STATES, "stopping")

    @property
    def progress(self) -> float:
        """Done share, 0..1."""
        return float(self.description.get("progress", 0.0))

    @property
    def message(self) -> str:
        """What the job last said, or that it never started."""
        content = self.description
        said = str(content.get("message", ""))
        if not said and content.get("state") == "queued" and self._state(content) == "failed":
            return NOT_STARTED
        return said

    def events(self, offset: int = 0, limit: int | None = None) -> tuple[list[dict[str, Any]], int]:
        """Events after a place in the file.

        A last line still being written is left for the next call; a line broken by a crash is skipped.

        Args:
            offset: 0, or the offset the call before returned (bytes).
            limit: bytes to read at most, so that a watcher need not wait for a long history; an event that is longer
                comes alone. None: all there are.

        Returns:
            The events and the offset for the next call.
        """
        try:
            with (self.folder / EVENTS_FILE).open("rb") as stream:
                stream.seek(offset)
                content = stream.read(-1 if limit is None else limit)
                if limit is not None and len(content) == limit and b"\n" not in content:
                    content += stream.readline()
        except FileNotFoundError:
            return [], offset
        whole = content[: content.rfind(b"\n") + 1]
        parsed = (_parse(line) for line in whole.splitlines())
        return [event for event in parsed if event is not None], offset + len(whole)

    @property
    def stop_requested(self) -> bool:
        """Whether the job has been asked to end."""
        return (self.folder / STOP_FILE).exists()

    def request_stop(self) -> None:
        """Asks the job to end with a checkpoint; a paused one, too."""
        self._request(STOP_FILE)

    def request_pause(self) -> None:
        """Asks the job to rest until :meth:`resume`."""
        self._request(PAUSE_FILE)

    def resume(self) -> None:
        """Takes a pause request back."""
        (self.folder / PAUSE_FILE).unlink(missing_ok=True)

    def request_sample(self) -> None:
        """Asks the job to show what it is working with; an event tells when it is there."""
        self._request(SAMPLE_FILE)

    def _request(self, name: str) -> None:
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); check the folder's permissions") from error


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _is_description(content: dict[str, Any]) -> bool:
    """Whether what ``job.json`` tells of every job has the right type."""
    numbers = [content.get(name, 0) for name in ("heartbeat", "started", "progress", "pid")]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        return False
    return isinstance(content.get("state", ""), str) and type(content.get("pid", 0)) is int
