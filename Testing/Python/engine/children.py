"""Child processes that find the engine."""

from __future__ import annotations

import os
from pathlib import Path

import brbs

ENGINE = Path(brbs.__file__).parents[1]


def environment(*first: str | Path, **more: str) -> dict[str, str]:
    """A child's: that of this process, with the engine on the path behind the folders given, and more variables."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*first, ENGINE])), **more}
