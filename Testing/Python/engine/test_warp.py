"""Warps and displacement fields against answers that are known."""

from __future__ import annotations

import pytest
import torch
from tiny_model import smooth_noise

from brbs.steps import displacement
from brbs.warp import (
    follow,
    identity_grid,
    inverse,
    jacobian_determinant,
    onehot_at,
    resize_flow,
    sample,
    sample_at,
    warp,
)

SHAPE = (9, 12, 7)
INNER = (slice(None), slice(None), slice(3, -3), slice(3, -3), slice(3, -3))


def constant(*voxels: float, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.tensor(voxels, dtype=torch.float32).view(1, 3, 1, 1, 1).expand(1, 3, *shape).contiguous()


def linear(matrix: torch.Tensor, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """The field u(p) = matrix @ p, voxels."""
    points = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))
    return torch.einsum("ij,jdhw->idhw", matrix, points).unsqueeze(0)


def noise(channels: int = 1, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.rand(2, channels, *shape, generator=torch.Generator().manual_seed(0))


def test_zero_flow_gives_the_volume_back() -> None:
    volume = noise(2)
    torch.testing.assert_close(warp(volume, torch.zeros(2, 3, *SHAPE)), volume, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("axis", "voxels"), [(0, 2), (1, -3), (2, 1)])
def test_a_pull_back_by_whole_voxels_shifts_and_fills_with_zero(axis: int, voxels: int) -> None:
    volume = noise()
    flow = constant(*(voxels if a == axis else 0 for a in range(3))).expand(2, -1, -1, -1, -1)
    expected = torch.roll(volume, -voxels, dims=axis + 2)
    gone = slice(-voxels, None) if voxels > 0 else slice(0, -voxels)
    expected.movedim(axis + 2, 0)[gone] = 0
    torch.testing.assert_close(warp(volume, flow), expected, rtol=0, atol=1e-5)


def test_half_a_voxel_is_the_mean_of_two() -> None:
    volume = noise()[:1]
    expected = (volume[..., :-1] + volume[..., 1:]) / 2
    torch.testing.assert_close(warp(volume, constant(0, 0, 0.5))[..., :-1], expected, rtol=0, atol=1e-5)


def test_following_positions_samples_the_source_once() -> None:
    volume, flow = noise()[:1], smooth_noise((1, 3, *SHAPE), 1)
    start = identity_grid(SHAPE, torch.device("cpu")).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(sample_at(volume, follow(start, flow))[INNER], warp(volume, flow)[INNER])
    shift = constant(1, 0, 0)
    there = follow(follow(start, shift), -shift)
    torch.testing.assert_close(sample_at(volume, there)[:, :, 1:-1], volume[:, :, 1:-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [SHAPE, (5, 1, 9)])
def test_label_maps_are_interpolated_as_if_one_hot(shape) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 7, (2, *shape), generator=generator, dtype=torch.uint8)
    grid = 1.2 * identity_grid(SHAPE, labels.device) + 0.1 * torch.randn(2, *SHAPE, 3, generator=generator)
    onehot = torch.nn.functional.one_hot(labels.long(), 7).movedim(-1, 1).float()
    found = onehot_at(labels, grid.permute(0, 4, 1, 2, 3), 7)
    torch.testing.assert_close(found, sample(onehot, grid), rtol=0, atol=1e-5)
    assert (found.sum(1) < 0.5).any(), "outside lies nothing, not even background"


def test_the_inverse_of_a_shift_shifts_back() -> None:
    volume, flow = noise()[:1], constant(1, -1, 1)
    torch.testing.assert_close(inverse(flow)[INNER], -flow[INNER], rtol=0, atol=1e-5)
    torch.testing.assert_close(warp(warp(volume, flow), inverse(flow))[INNER], volume[INNER], rtol=0, atol=1e-4)


def test_jacobian_determinant_of_a_linear_field() -> None:
    matrix = torch.tensor([[0.1, 0.2, 0.0], [-0.3, 0.05, 0.1], [0.0, 0.2, -0.4]])
    expected = torch.linalg.det(torch.eye(3) + matrix).expand(1, 1, *SHAPE)
    torch.testing.assert_close(jacobian_determinant(linear(matrix)), expected, rtol=0, atol=1e-5)


def test_jacobian_determinant_is_one_at_rest_and_negative_where_space_folds() -> None:
    torch.testing.assert_close(jacobian_determinant(constant(3, -1, 2)), torch.ones(1, 1, *SHAPE))
    assert (jacobian_determinant(linear(torch.diag(torch.tensor([-1.5, 0.0, 0.0])))) < 0).all()


def test_a_resized_field_moves_by_the_same_distance() -> None:
    matrix = torch.diag(torch.tensor([0.1, -0.2, 0.3]))
    coarse = linear(matrix, (4, 5, 6)) + 0.5 * matrix.sum(1).view(1, 3, 1, 1, 1)  # u at cell centres, coarse voxels
    fine = resize_flow(coarse, (8, 10, 12))
    expected = linear(matrix, (8, 10, 12)) + 0.5 * matrix.sum(1).view(1, 3, 1, 1, 1)
    inner = (..., slice(1, -1), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(fine[inner], expected[inner], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scales", [(1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 2, 2)])
def test_registration_on_coarser_volumes_gives_a_field_of_full_size_and_length(scales: tuple[int, ...]) -> None:
    seen = []

    def shift_by_one(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        seen.append(moving.shape[2:])
        return torch.ones(len(moving), 3, *moving.shape[2:])

    flow = displacement(shift_by_one, noise(), noise(), scales)
    assert seen == [tuple(-(-n // scale) for n, scale in zip(SHAPE, scales))]
    expected = torch.tensor(scales, dtype=torch.float32).view(1, 3, 1, 1, 1).expand(2, 3, *SHAPE)
    torch.testing.assert_close(flow, expected)
