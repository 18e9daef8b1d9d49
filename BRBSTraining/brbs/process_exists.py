"""Whether a process is there; without packages that may be missing."""

from __future__ import annotations

import ctypes
import os

LARGEST_PID = 2**31 - 1


def process_exists(pid: int) -> bool:
    """Whether a process of this computer has the number ``pid``."""
    if not 0 <= pid <= LARGEST_PID:
        return False
    if os.name == "nt":
        return _windows_process_exists(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, but somebody else's
    return True


def _windows_process_exists(pid: int) -> bool:
    """As :func:`process_exists`; ``os.kill`` with signal 0 would interrupt the process on Windows."""
    query_limited_information, still_active = 0x1000, 259
    access_denied = 5  # it is there, but somebody else's
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return ctypes.get_last_error() == access_denied  # type: ignore[attr-defined]
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return bool(known) and code.value == still_active
