"""Windows over a large volume: as a library blends them, but a few planes at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_model import smooth_noise

from brbs.windows import slabs, window_starts, window_weights

CPU = torch.device("cpu")


def position_dependent(windows: torch.Tensor, at_home: bool = False) -> torch.Tensor:
    """Two classes whose share depends on the brightness and on where in the window a voxel lies."""
    ramp = torch.linspace(0, 1, windows.shape[2])[:, None, None] * torch.linspace(1, 0.5, windows.shape[4])
    first = (windows * ramp).sigmoid()
    return torch.cat([first, 1 - first], dim=1)


def blended(volume: np.ndarray, window: tuple[int, int, int], at_once: int = 3, home=None) -> np.ndarray:
    found = slabs(volume, window, position_dependent, CPU, at_once, home)
    parts = [(first, planes.copy()) for first, planes in found]
    counts = [planes.shape[1] for _, planes in parts]
    assert [first for first, _ in parts] == [0, *np.cumsum(counts)[:-1]]  # all planes once, in order
    return np.concatenate([planes for _, planes in parts], axis=1)


@pytest.mark.parametrize("shape", [(8, 12, 10), (9, 12, 10), (23, 31, 17), (40, 12, 19)])
def test_blended_as_by_monai(shape) -> None:
    inferers = pytest.importorskip("monai.inferers")
    volume, window = smooth_noise((1, 1, *shape), 0)[0, 0].numpy(), (8, 12, 10)
    expected = inferers.sliding_window_inference(
        torch.as_tensor(volume)[None, None], window, 2, position_dependent, 0.5, mode="gaussian"
    )
    np.testing.assert_allclose(blended(volume, window), expected[0].numpy(), atol=2e-5)


@pytest.mark.parametrize("home", [(0, 0, 0), (5, 2, 6), (13, 19, 9)])
def test_the_window_that_shows_what_training_showed_decides_within(home: tuple[int, int, int]) -> None:
    volume, window = smooth_noise((1, 1, 21, 31, 19), 3)[0, 0].numpy(), (8, 12, 10)
    place = tuple(slice(first, first + width) for first, width in zip(home, window))
    found, without = blended(volume, window, home=home), blended(volume, window)
    alone = position_dependent(torch.as_tensor(volume[place])[None, None])[0].numpy()
    inside = (slice(None), *(slice(2, -2),) * 3)
    np.testing.assert_allclose(found[(slice(None), *place)][inside], alone[inside], atol=0.003)
    assert np.abs(without[(slice(None), *place)][inside] - alone[inside]).max() > 0.01
    beyond = np.ones(volume.shape, bool)
    beyond[place] = False
    np.testing.assert_allclose(found[:, beyond], without[:, beyond], atol=1e-6)


def test_result_does_not_depend_on_how_many_are_seen_at_once() -> None:
    volume = smooth_noise((1, 1, 21, 20, 19), 1)[0, 0].numpy()
    np.testing.assert_allclose(blended(volume, (8, 8, 8), 1), blended(volume, (8, 8, 8), 100), atol=1e-6)


def test_a_volume_of_one_window_is_what_the_network_says() -> None:
    volume = smooth_noise((1, 1, 8, 9, 7), 2)
    np.testing.assert_allclose(blended(volume[0, 0].numpy(), (8, 9, 7)), position_dependent(volume)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "width", "starts"), [(8, 8, [0]), (9, 8, [0, 1]), (20, 8, [0, 4, 8, 12]), (5, 1, [0, 1, 2, 3, 4])]
)
def test_windows_cover_an_axis(size: int, width: int, starts: list[int]) -> None:
    assert window_starts(size, width) == starts


def test_weights_fall_from_the_middle_and_never_to_nothing() -> None:
    weights = window_weights((9, 9, 9))
    assert weights[4, 4, 4] == 1 and torch.equal(weights, weights.flip(0)) and weights.min() > 0
    assert (weights[:5, 4, 4].diff() > 0).all()
