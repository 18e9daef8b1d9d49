"""How much memory a process has had at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Bytes of this process; what the process had that started it does not count where the system tells them apart."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, whose getrusage keeps the largest memory from before the program was replaced
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
