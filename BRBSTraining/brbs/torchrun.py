"""``python -m brbs.torchrun``: PyTorch's launcher ``torchrun``, which names nobody in what it prints itself."""

from __future__ import annotations

import os
import platform
import sys
import typing
from pathlib import Path

from .__main__ import parser
from .hidden_names import call_folder, call_people, hide_names


def main() -> typing.NoReturn:
    """Starts the engine in several processes, by the command line of ``torchrun`` with ``-m brbs --hide-names ...``.

    Where a process ends in an error, ``torchrun`` prints the lines of its own code, whose folders name the user, and
    the computer's name. Here its exit code is passed on, and the process's own message stands for itself.
    """
    words = sys.argv[1:]
    begin = words.index("-m") + 2 if "-m" in words else 0
    if words[begin - 2 : begin] != ["-m", "brbs"]:
        sys.exit("brbs.torchrun: give the options of torchrun, then -m brbs --hide-names and a command of brbs")
    hide_names(parser().parse_args(words[begin:]))
    call_folder(Path(sys.executable).parent, "python")
    call_people("", platform.node())
    # PyTorch's C++ code prints past all streams, and warns of connections by names of computers.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    sys.exit(_launched(words))


def _launched(words: list[str]) -> int:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # which keep the streams they find
    from torch.distributed.run import main as launch

    try:
        launch(words)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode  # as shells tell of signals
    return 0


if __name__ == "__main__":
    main()
