"""How often each axis is halved: finer axes first."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brbs.anisotropy import axis_scales, default_unet, grid_multiples, halvings, relative_work

EDGES = st.floats(0.2, 10.0)


@pytest.mark.parametrize(
    ("scale", "spacing", "expected"),
    [
        (1, (5, 1, 1), (1, 1, 1)),
        (2, (1, 1, 1), (2, 2, 2)),
        (2, (1.5, 1, 1), (2, 2, 2)),
        (2, (2, 1, 1), (1, 2, 2)),
        (4, (2, 1, 1), (2, 4, 4)),
        (3, (0.8, 5, 0.8), (3, 1, 3)),
    ],
)
def test_coarse_axes_are_coarsened_less(scale, spacing, expected) -> None:
    assert axis_scales(scale, spacing) == expected


@given(st.tuples(EDGES, EDGES, EDGES))
def test_cells_become_alike(spacing) -> None:
    """Twenty-five levels are enough for any ratio; from there on no cell is twice as long as wide."""
    for step in islice(halvings(spacing), 25):
        spacing = [edge * factor for edge, factor in zip(spacing, step)]
    assert max(spacing) < 2.05 * min(spacing)


def test_sizes_can_be_halved_as_often_as_the_axis_will_be() -> None:
    assert grid_multiples((1, 1, 1)) == (8, 8, 8)
    assert grid_multiples((0.5, 0.5, 5)) == (8, 8, 1)
    assert grid_multiples((2, 1, 4)) == (4, 8, 2)


CUBE, FLAT = (2, 2, 2), (1, 2, 2)


@pytest.mark.parametrize(
    ("shape", "spacing", "strides"),
    [
        ((48, 64, 48), (1, 1, 1), [CUBE] * 3),
        ((64, 64, 64), (1, 1, 1), [CUBE] * 4),
        ((200, 200, 200), (1, 1, 1), [CUBE] * 4),
        ((8, 8, 8), (1, 1, 1), [CUBE] * 2),
        ((40, 56, 40), (0.8, 0.8, 0.8), [CUBE] * 3),
        ((8, 160, 160), (1, 1, 1), [CUBE, CUBE, FLAT, FLAT]),
        ((10, 40, 56), (4, 1, 1), [FLAT, FLAT, CUBE]),
        ((20, 256, 256), (5, 0.7, 0.7), [FLAT, FLAT, CUBE, CUBE]),
        ((256, 20, 256), (0.7, 5, 0.7), [(2, 1, 2)] * 2 + [CUBE] * 2),
        ((5, 256, 256), (10, 0.7, 0.7), [FLAT] * 4),
    ],
)
def test_networks_are_as_deep_as_the_grid_has_room_for(shape, spacing, strides) -> None:
    channels, found = default_unet(shape, spacing)
    assert list(found) == strides
    down = (16, 32, 64, 128, 256)[: len(strides) + 1]
    assert channels == down + down[-2::-1]


def test_slices_kept_apart_cost_more() -> None:
    """A level that halves all axes has half the work of the one above it; one that keeps slices apart, as much."""
    assert relative_work((CUBE, CUBE, CUBE)) == 1
    assert relative_work((FLAT, FLAT, CUBE)) == pytest.approx((1 + 1 + 1 + 0.5) / (1 + 0.5 + 0.25 + 0.125))
