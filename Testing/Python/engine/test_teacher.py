"""What the teacher says of scans: seen in other sizes, asked for where the learning network sees them."""

from __future__ import annotations

import pytest
import torch
from tiny_model import smooth_noise
from tiny_study import SETTINGS
from tiny_training import training_data

from brbs import teacher as teacher_module
from brbs.data import Triple
from brbs.networks import RegistrationNet, SegmentationNet
from brbs.splines import resized
from brbs.steps import generate, segmentation_step
from brbs.teacher import SIZES, opinion
from brbs.warp import identity_grid

SHAPE = (10, 12, 9)


@pytest.fixture
def positions() -> torch.Tensor:
    """Of the scan's voxels, moved by about a voxel."""
    grid = identity_grid(SHAPE, torch.device("cpu")).permute(0, 4, 1, 2, 3)
    return grid + 0.2 * smooth_noise((1, 3, *SHAPE), 3)


def shapes_seen(image: torch.Tensor, positions: torch.Tensor, draws: int) -> set[tuple[int, ...]]:
    random, seen = torch.Generator().manual_seed(0), set()
    for _ in range(draws):
        opinion(lambda volume: seen.add(tuple(volume.shape[2:])) or volume, image, positions, random)
    return seen


def test_scans_are_seen_in_each_size(positions) -> None:
    expected = {tuple(round(edge * size) for edge in SHAPE) for size in SIZES}
    assert shapes_seen(torch.rand(1, 1, *SHAPE), positions, 50) == expected
    assert min(SIZES) < 1 < max(SIZES) and 1 in SIZES


@pytest.mark.parametrize("size", SIZES)
def test_what_is_said_of_a_place_is_found_there_whatever_the_size(size: float, monkeypatch) -> None:
    monkeypatch.setattr(teacher_module, "SIZES", (size,))
    shape = (20, 24, 18)
    there = identity_grid(shape, torch.device("cpu")).permute(0, 4, 1, 2, 3)
    wave = torch.sin(2 * there[:, 1:2]) + there[:, :1] ** 2  # along H and W

    def teacher(volume: torch.Tensor) -> torch.Tensor:
        return torch.cat([volume, 3 * volume], dim=1)

    positions = 0.8 * there
    found = opinion(teacher, wave, positions, torch.Generator().manual_seed(0))
    asked = torch.sin(2 * positions[:, 1:2]) + positions[:, :1] ** 2
    lost = (found - torch.cat([asked, 3 * asked], dim=1)).abs()
    assert lost[..., 4:-4, 4:-4].max() < 0.05 and lost.max() < 0.3  # ends are mirrored, so slopes end there


class Listener:
    """A teacher that notes what it sees, and says the brighter the more for the last class."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, volume: torch.Tensor) -> torch.Tensor:
        self.seen.append(volume)
        return torch.cat([0 * volume, volume, 2 * volume], dim=1)


@pytest.fixture
def triple() -> Triple:
    """An atlas and two scans of three classes, turned and bent."""
    return training_data().draw_triple((0, 1), torch.Generator().manual_seed(1), "full")


def test_in_its_own_size_nothing_is_interpolated_that_the_learning_network_does_not_see_so(triple, monkeypatch) -> None:
    monkeypatch.setattr(teacher_module, "SIZES", (1.0,))
    found = opinion(Listener(), triple.scan_2_source.image, triple.positions, torch.Generator())
    torch.testing.assert_close(found, Listener()(triple.scan_2))


def test_mixtures_are_taught_by_what_the_teacher_says_of_both_scans(triple) -> None:
    teacher, registration = Listener(), RegistrationNet((4, 4, 4))
    networks = SegmentationNet(3, (4, 4, 4)), teacher, registration
    losses = segmentation_step(*networks, triple, SETTINGS, torch.Generator().manual_seed(2))
    assert losses["segmentation_total"].isfinite() and len(teacher.seen) == 2
    with torch.no_grad():
        passed = generate(registration, triple, torch.tensor(0.0), torch.tensor(0.0), SETTINGS).passed
    for volume, scan in zip(teacher.seen, (passed, triple.scan_2)):
        pair = torch.stack([resized(volume, scan.shape[2:]).flatten(), scan.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9
