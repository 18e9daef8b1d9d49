"""Names of nodes as names of files."""

from __future__ import annotations

import re


def fileName(name: str) -> str:
    """A node's name as far as all file systems allow it, without suffix; "scan" where nothing is left of it."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*~]', "_", name).strip(" .")[:80] or "scan"
