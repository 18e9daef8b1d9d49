"""What a model bundle says of itself, readable without its tensors and without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError
from .files import read_json

# 2: networks may halve some axes less often than others; 3: scans' axes follow the first atlas; 4: scans may be
# registered to an overview of the first atlas, and odd axes are rounded up where volumes were padded
FORMAT = 4
MODEL_FILE = "model.json"


def read_description(folder: str | Path) -> dict[str, Any]:
    """``model.json`` of a bundle, checked for its format.

    Raises:
        InputError: no bundle there, unreadable, or a newer format.
    """
    path = Path(folder) / MODEL_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no model here ({MODEL_FILE} is missing); give the folder that training wrote")
    return read_json(path, newest_format=FORMAT)


def model_identity(folder: str | Path) -> str:
    """What changes when a model's weights or atlases do: the names of its files, which are made from their content.

    Raises:
        InputError: no model there, or its description is damaged.
    """
    files = read_description(folder).get("files")
    if not isinstance(files, dict):
        raise InputError(f"{folder}: this model's description names no weights; copy it again or train anew")
    return " ".join(Path(str(name)).stem for _, name in sorted(files.items()))
