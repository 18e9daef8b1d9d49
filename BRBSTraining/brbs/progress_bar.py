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
