"""Names of nodes as names of files."""

from __future__ import annotations

from brbs.files import FORBIDDEN


def fileName(name: str) -> str:
    """A node's name as far as all file systems allow it, without suffix; "scan" where nothing is left of it."""
    return FORBIDDEN.sub("_", name.replace("~", "_")).strip(" .")[:80] or "scan"
