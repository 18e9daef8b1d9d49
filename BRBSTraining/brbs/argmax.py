"""The most probable class of each voxel, without holding all classes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import SimpleITK as sitk


def running_argmax(membership: Callable[[int], sitk.Image], indices: Iterable[int]) -> np.ndarray:
    """uint8 index of the largest membership per voxel, the first of equals; holds two classes in memory at a time."""
    winner = best = None
    for index in indices:
        image = membership(index)  # kept by name: the view below does not keep it alive
        values = sitk.GetArrayViewFromImage(image)
        if winner is None:
            winner, best = np.full(values.shape, index, np.uint8), np.array(values)
            continue
        better = values > best
        winner[better] = index
        np.maximum(best, values, out=best)
    return winner
