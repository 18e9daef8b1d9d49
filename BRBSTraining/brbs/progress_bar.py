"""A bar in the terminal for work whose share done is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .preparation import Progress

BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yields what is to be told of the progress; the bar is shown in terminals only and goes at the end.

    Where tqdm is not installed, as in a fresh Slicer, there is none.
    """
    try:
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm
    except ImportError:
        yield lambda done, what: None
        return
    with tqdm(total=1.0, bar_format=BAR_FORMAT, disable=None, leave=False) as bar, logging_redirect_tqdm():

        def show(done: float, what: str) -> None:
            bar.n = done
            bar.set_description_str(what)

        yield show


class TrainingBar:
    """A training's bar on the terminal: phase, time left, step, Dice.

    Args:
        progress: 0..1, at the start.
        shown: on a terminal; False: never.
    """

    def __init__(self, progress: float, shown: bool) -> None:
        from tqdm import tqdm

        disable = None if shown else True  # None: where there is no terminal
        layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
        self._bar = tqdm(total=1.0, initial=progress, bar_format=layout, disable=disable, dynamic_ncols=True)

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, phase: str, progress: float, step: int, dice: float | None) -> None:
        """Draws it anew.

        Args:
            phase: for people.
            progress: 0..1.
            step: made so far.
            dice: of the last validation; None: there was none yet.
        """
        self._bar.n = progress
        self._bar.set_description_str(phase, refresh=False)
        self._bar.set_postfix(step=step, **({} if dice is None else {"dice": f"{dice:.3f}"}), refresh=False)
        self._bar.refresh()
