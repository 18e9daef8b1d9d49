"""A growing table whose number of rows stays bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MOST_ROWS = 2000


class ThinnedRows:
    """Named numbers over training steps. When rows get too many, neighbours become their mean.

    Every row stands for the same number of additions (but for the last), so that early and late parts of a curve keep
    the same detail.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self._sums)

    @property
    def names(self) -> list[str]:
        """Names of the columns in the order in which they came."""
        return list(self._names)

    def clear(self) -> None:
        """Drops everything."""
        self._names: list[str] = []
        self._steps, self._sums, self._counts = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0))
        self._sizes = np.zeros(0)  # how many additions are in each row
        self._seen, self._stride = 0, 1

    def add(self, steps: Sequence[float], rows: Sequence[Mapping[str, float]]) -> None:
        """Adds rows; where the steps go back (a training resumed from a checkpoint), what was after is dropped.

        Args:
            steps: training step of each row.
            rows: numbers by column name; a name may be missing.
        """
        jumps = [index for index in range(1, len(steps)) if steps[index] <= steps[index - 1]]
        for start, end in zip([0, *jumps], [*jumps, len(steps)]):
            self._drop_from(steps[start] if start < end else np.inf)
            self._append(steps[start:end], rows[start:end])

    def column(self, name: str) -> np.ndarray:
        """Means of a column, (rows,); NaN where it has no numbers."""
        place = self._names.index(name)
        sums, counts = self._sums[:, place], self._counts[:, place]
        return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)

    @property
    def steps(self) -> np.ndarray:
        """Mean training step of each row, (rows,)."""
        return self._steps / np.maximum(self._sizes, 1)

    def _drop_from(self, step: float) -> None:
        kept = int(np.searchsorted(self.steps, step))
        if kept < len(self):
            self._resize(kept, len(self._names))
            self._seen = kept * self._stride

    def _append(self, steps: Sequence[float], rows: Sequence[Mapping[str, float]]) -> None:
        self._names += dict.fromkeys(name for row in rows for name in row if name not in self._names)
        places = {name: place for place, name in enumerate(self._names)}
        bins = (self._seen + np.arange(len(rows))) // self._stride
        self._seen += len(rows)
        self._resize(-(-self._seen // self._stride), len(places))
        entries = [(bin_, places[name], value) for bin_, row in zip(bins, rows) for name, value in row.items()]
        if entries:
            where, columns, values = zip(*entries)
            np.add.at(self._sums, (where, columns), values)
            np.add.at(self._counts, (where, columns), 1)
        np.add.at(self._steps, bins, steps)
        np.add.at(self._sizes, bins, 1)
        while len(self) > MOST_ROWS:
            self._halve()

    def _halve(self) -> None:
        self._resize(len(self) + len(self) % 2, len(self._names))
        self._steps, self._sizes = (array[0::2] + array[1::2] for array in (self._steps, self._sizes))
        self._sums, self._counts = (array[0::2] + array[1::2] for array in (self._sums, self._counts))
        self._stride *= 2

    def _resize(self, rows: int, columns: int) -> None:
        """Cuts off, or adds zeros."""
        self._steps, self._sizes = (_resized(array, (rows,)) for array in (self._steps, self._sizes))
        self._sums, self._counts = (_resized(array, (rows, columns)) for array in (self._sums, self._counts))


def _resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = np.zeros(shape)
    common = tuple(slice(0, min(old, new)) for old, new in zip(array.shape, shape))
    result[common] = array[common]
    return result
