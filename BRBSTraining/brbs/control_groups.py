"""Linux's limits of memory for a group of processes, as batch systems and containers set them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def free_in_control_groups() -> Iterator[int]:
    """Bytes that this process's control group (version 2), and each above it, may still take; none without limits.

    What the group holds of files is not counted, as the system gives it back when memory is short.
    """
    for folder in _groups():
        try:
            most = (folder / "memory.max").read_text(encoding="ascii").strip()
            taken = int((folder / "memory.current").read_text(encoding="ascii"))
            parts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
            if most != "max":
                yield max(0, int(most) - taken + int(parts.get("inactive_file", 0)))
        except (OSError, ValueError):
            continue  # the topmost one has no limits, and not every system grants a look


def _groups() -> list[Path]:
    """Folders of this process's control group and those above it."""
    try:
        lines = OWN.read_text(encoding="utf-8").splitlines()
    except OSError:  # another system than Linux
        return []
    own = next((ROOT / line[len("0::/") :] for line in lines if line.startswith("0::/")), ROOT)
    return [folder for folder in (own, *own.parents) if folder.is_relative_to(ROOT)]
