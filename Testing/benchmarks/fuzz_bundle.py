"""Models with bytes that were changed at random, as files and as folders: each is read, or refused in people's words.

Other bytes seldom leave a description that can be read at all; so its values are changed by themselves, too. Whatever
else comes of it than a model or an ``InputError`` is told, and makes the command fail.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "BRBSTraining"), str(ROOT / "Testing/Python/engine")]

from tiny_model import tiny_bundle  # noqa: E402

from brbs.bundle_file import check_bundle, export_bundle, import_bundle  # noqa: E402
from brbs.errors import InputError  # noqa: E402
from brbs.model import ModelBundle  # noqa: E402
from brbs.model_description import MODEL_FILE  # noqa: E402

TELLING = (b"\0", b"\xff", b"-1", b"1e999", b"NaN", b"null", b"[", b"{", b'"', b"../", b"PK\x01\x02", b"\xff" * 8)
NUMBERS = (True, 0, -1, 1, 2, 3, 1.5, 10**12, float("nan"), float("inf"))
VALUES = (None, *NUMBERS, "", "2", "../x", [], {}, [1, 2, 2], [[2, 2, 2]])
STRIDES = ((1, 2, 2), (2, 2, 2))  # of thick slices, so that the model has all that one can have
HEADERS = 3000  # bytes at a file's begin and end, in which most of what can go wrong is told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, faults = fuzz(Path(folder), 60 * arguments.minutes, random.Random(arguments.seed))
    for (how, outcome), count in sorted(outcomes.items()):
        print(f"{how}: {outcome} {count}")
    print(f"{outcomes.total()} executions, {len(faults)} kinds of fault")
    for place, trace in faults.items():
        print(f"\n{place}\n{trace}")
    sys.exit(1 if faults else 0)


def fuzz(home: Path, seconds: float, chance: random.Random) -> tuple[Counter, dict[str, str]]:
    """Reads changed models until the time is over; each way of reading at least once.

    Returns:
        How often each way of reading took or refused a model, and the traces of other ends by where they came from.
    """
    good, path = home / "good", home / "good.zip"
    tiny_bundle(strides=STRIDES).save(good)
    export_bundle(good, path)
    archive, parts = path.read_bytes(), {file.name: file.read_bytes() for file in good.iterdir()}
    outcomes: Counter = Counter()
    faults: dict[str, str] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end or not outcomes:
        path.write_bytes(mutated(archive, chance))
        attempt("import", lambda: import_bundle(path, home / "models"), outcomes, faults)
        shutil.rmtree(home / "models", ignore_errors=True)
        name = chance.choice(sorted(parts))
        (good / name).write_bytes(mutated(parts[name], chance))
        attempt("check", lambda: check_bundle(good), outcomes, faults)
        attempt("load", lambda: used(good), outcomes, faults)
        (good / name).write_bytes(parts[name])
        field, description = retold(json.loads(parts[MODEL_FILE]), chance)
        (good / MODEL_FILE).write_text(json.dumps(description), encoding="utf-8")
        attempt(f"load, other {field}", lambda: used(good), outcomes, faults)
        (good / MODEL_FILE).write_bytes(parts[MODEL_FILE])
    return outcomes, faults


def used(folder: Path) -> None:
    """Loads a model as far as to its networks."""
    bundle = ModelBundle.load(folder)
    bundle.segmentation_net()
    bundle.registration_net()


def attempt(how: str, read: Callable[[], object], outcomes: Counter, faults: dict[str, str]) -> None:
    try:
        read()
        outcomes[how, "read"] += 1
    except InputError:
        outcomes[how, "refused"] += 1
    except Exception as error:  # finding these is what this is for
        outcomes[how, "fault"] += 1
        last = traceback.extract_tb(error.__traceback__)[-1]
        faults.setdefault(f"{how}: {type(error).__name__} in {last.filename}:{last.lineno}", traceback.format_exc())


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A copy with one to four places changed, cut out, repeated or replaced by something that tells."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        near = chance.randrange(min(HEADERS, len(changed)) or 1)
        place = chance.choice((near, max(0, len(changed) - 1 - near), chance.randrange(len(changed) or 1)))
        length = chance.choice((1, 1, 2, 8, 60))
        piece = changed[place : place + length]
        changed[place : place + length] = chance.choice((
            bytes(byte ^ 1 << chance.randrange(8) for byte in piece),
            chance.randbytes(len(piece)),
            chance.choice(TELLING),
            b"",
            piece * 2,
            str(chance.choice((0, -1, 10**12, 1.5, 255))).encode(),
        ))  # fmt: skip
    return bytes(changed[: chance.randrange(len(changed))] if changed and chance.random() < 0.05 else changed)


def retold(description: dict[str, Any], chance: random.Random) -> tuple[str, dict[str, Any]]:
    """The name of one entry, and the description with something changed within it."""
    field = key = chance.choice(sorted(description))
    place: Any = description
    while isinstance(place[key], dict | list) and place[key] and chance.random() < 0.8:
        place = place[key]
        key = chance.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
    if chance.random() < 0.2:
        del place[key]
    else:
        place[key] = chance.choice((*VALUES, place[key], *map(copy.deepcopy, description.values())))
    return field, description


if __name__ == "__main__":
    main()
