"""Augmentation: rigid in millimetres, within the published ranges, and drawn from the seed alone."""

from __future__ import annotations

import pytest
import torch

from brbs.augmentation import affine_grid, random_affine, random_bending, random_contrast, slab_turns
from brbs.data import TrainingData
from brbs.warp import identity_grid, jacobian_determinant, sample

CPU = torch.device("cpu")
SHAPE, SPACING = (10, 24, 16), (4.0, 0.5, 1.25)  # D, H, W


def drawn(seed: int, strength: float = 1.0) -> torch.Tensor:
    return random_affine(SHAPE, SPACING, torch.Generator().manual_seed(seed), strength)


def in_mm(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix on (W, H, D) unit coordinates as one on mm."""
    half = torch.tensor([(n - 1) / 2 * mm for n, mm in zip(SHAPE, SPACING, strict=True)]).flip(0)
    return half[:, None] * matrix / half


def test_rotation_is_rigid_in_mm_whatever_the_voxels() -> None:
    scales = []
    for seed in range(50):
        matrix = in_mm(drawn(seed)).double()
        scale = torch.linalg.det(matrix) ** (1 / 3)
        scales.append(1 / float(scale))
        torch.testing.assert_close(matrix.T @ matrix / scale**2, torch.eye(3).double(), rtol=0, atol=1e-5)
    assert 0.75 <= min(scales) < 0.85 and 1.15 < max(scales) <= 1.25


def test_rotation_turns_about_every_axis_by_at_most_what_three_turns_of_20_degrees_give() -> None:
    turns = []
    for seed in range(50):
        matrix = in_mm(drawn(seed))
        rotation = matrix / torch.linalg.det(matrix) ** (1 / 3)
        turns.append(torch.stack([rotation[2, 1], rotation[0, 2], rotation[1, 0]]))  # about W, H, D
    turns = torch.stack(turns)
    assert (turns.abs().amax(0) > 0.2).all()
    assert turns.abs().max() < 0.6
    assert (turns.amin(0) < 0).all() and (turns.amax(0) > 0).all()


def test_a_slab_is_tilted_less_and_turned_within_its_slices_as_far_as_published() -> None:
    about_w, about_h, about_d = slab_turns((9, 128, 128), (5.0, 2.0, 2.0))
    assert about_w == about_h == pytest.approx(6, abs=0.1) and about_d == 20  # 45 mm over 256
    assert slab_turns((40, 56, 40), (1.0, 1.0, 1.0)) == (20, 20, 20)
    matrix = random_affine((9, 128, 128), (5, 2, 2), torch.Generator().manual_seed(1), 1.0, (0.0, 0.0, 20.0))
    assert matrix[2].tolist() == [0, 0, matrix[2, 2]] and matrix[0, 1] != 0, "slices stay slices"


def test_bending_folds_no_short_axis() -> None:
    folded = []
    for seed in range(30):
        offset = random_bending((8, 40, 40), (1, 1, 1), torch.Generator().manual_seed(seed), CPU)
        field = offset.flip(-1).permute(0, 4, 1, 2, 3) * torch.tensor([7, 39, 39]).view(1, 3, 1, 1, 1) / 2
        folded.append(float((jacobian_determinant(field) <= 0).float().mean()))
    assert max(folded) < 0.03


def turn_degrees(matrix: torch.Tensor) -> float:
    """Angle of the whole rotation."""
    rotation = in_mm(matrix).double()
    rotation = rotation / torch.linalg.det(rotation) ** (1 / 3)
    return float(torch.rad2deg(torch.arccos((rotation.trace() - 1) / 2)))


def test_half_the_strength_turns_by_half_and_scales_by_half_and_none_leaves_all_as_it_is() -> None:
    for seed in range(10):
        whole, half = drawn(seed), drawn(seed, 0.5)
        assert turn_degrees(half) == pytest.approx(turn_degrees(whole) / 2, rel=0.1)
        scales = [float(torch.linalg.det(matrix.double()) ** (-1 / 3)) for matrix in (whole, half)]
        assert scales[1] - 1 == pytest.approx((scales[0] - 1) / 2, abs=1e-6)
        torch.testing.assert_close(drawn(seed, 0.0), torch.eye(3))


def test_training_scans_are_mostly_turned_a_little_those_as_published_by_the_whole_range() -> None:
    ramps = torch.stack([identity_grid((9, 9, 9), CPU)[0, ..., axis] for axis in range(3)])  # an image of each axis
    data = TrainingData(ramps / 2 + 0.5, torch.zeros(3, 9, 9, 9), ramps, 2, (1, 1, 1), CPU)

    def slopes(augmentation: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        images = (data.draw_atlas(generator, augmentation, atlas=0)[0][0, 0] for _ in range(100))
        return torch.stack([image[4, 5:, 4].diff().abs().mean() / image[4, 4, 3:6].diff().mean() for image in images])

    gentle, published = slopes("ordinary"), slopes("published")
    assert gentle.median() < 0.7 * published.median()
    assert gentle.max() > 0.7 * published.max()  # now and then by all


def test_the_centre_stays_and_no_rotation_is_the_identity() -> None:
    grid = affine_grid((9, 11, 7), drawn(3), CPU)
    torch.testing.assert_close(grid[0, 4, 5, 3], torch.zeros(3))
    torch.testing.assert_close(affine_grid(SHAPE, torch.eye(3), CPU), identity_grid(SHAPE, CPU))


def test_bending_is_smooth_and_moderate() -> None:
    size = torch.tensor([n - 1 for n in reversed(SHAPE)]) / 2
    lengths = []
    for seed in range(20):
        voxels = random_bending(SHAPE, (1, 1, 1), torch.Generator().manual_seed(seed), CPU) * size
        lengths.append(float(voxels.abs().max()))
        assert voxels.diff(dim=2).abs().max() < 3  # along H, in voxels from voxel to voxel
    assert 1 < max(lengths) < 20


def test_thick_slices_are_bent_by_as_many_millimetres_as_any_axis() -> None:
    shape = (30, 24, 16)
    half = torch.tensor([n - 1 for n in reversed(shape)]) / 2
    same, thick = (
        random_bending(shape, spacing, torch.Generator().manual_seed(0), CPU) * half
        for spacing in ((1, 1, 1), (4, 1, 1))
    )
    torch.testing.assert_close(same * torch.tensor([1, 1, 1 / 4]), thick)


def test_contrast_keeps_range_and_shape_and_treats_each_volume_for_itself() -> None:
    ramp = torch.linspace(0, 1, 512).view(1, 1, 8, 8, 8)
    changed = random_contrast(torch.cat([ramp] * 8), torch.Generator().manual_seed(0))
    assert changed.shape == (8, 1, 8, 8, 8)
    assert changed.min() >= 0 and changed.max() <= 1
    means = changed.mean((1, 2, 3, 4))
    assert means.max() - means.min() > 0.05
    for volume in changed:
        assert torch.corrcoef(torch.stack([volume.flatten(), ramp.flatten()]))[0, 1] > 0.8


@pytest.mark.parametrize("draw", ["affine", "bending", "contrast"])
def test_the_same_seed_gives_the_same_draw_and_another_seed_another(draw: str) -> None:
    def once(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        if draw == "affine":
            return random_affine(SHAPE, SPACING, generator)
        if draw == "bending":
            return random_bending(SHAPE, SPACING, generator, CPU)
        return random_contrast(torch.linspace(0, 1, 512).view(1, 1, 8, 8, 8), generator)

    assert torch.equal(once(1), once(1))
    assert not torch.allclose(once(1), once(2))


def test_a_ball_stays_a_ball_of_the_drawn_size() -> None:
    """Seen on the voxels: a ball of anisotropic voxels keeps its shape in mm."""
    shape, spacing = (24, 48, 32), (2.0, 1.0, 1.5)
    half = torch.tensor([(n - 1) / 2 * mm for n, mm in zip(shape, spacing, strict=True)])
    points = identity_grid(shape, CPU)[0] * half.flip(0)
    ball = (points.norm(dim=-1) < 12).float()[None, None]
    matrix = random_affine(shape, spacing, torch.Generator().manual_seed(5))
    warped = sample(ball, affine_grid(shape, matrix, CPU))[0, 0]
    weights = warped / warped.sum()
    spread = torch.stack([(weights * points[..., axis] ** 2).sum().sqrt() for axis in range(3)])
    assert float(spread.max() / spread.min()) < 1.03
