"""From scan to label map: on the scan's own grid, whatever its size, spacing and orientation."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from known_scans import scan
from tiny_model import blocks, brightness_classes, tiny_bundle

from brbs.grid import WorkingGrid
from brbs.predictor import Predictor, Windows

CPU = torch.device("cpu")
SIZE, SPACING = (16, 20, 16), (1.0, 1.0, 1.0)
GRID = WorkingGrid(SIZE, SPACING, intensity="window", window=(0.0, 1.0))
OBLIQUE = sitk.VersorTransform((1.0, 2.0, -0.5), 0.4).GetMatrix()


@pytest.fixture
def predictor() -> Predictor:
    """Segments by brightness: a network whose answer is known."""
    predictor = Predictor(tiny_bundle(grid=GRID), CPU)
    predictor.network = brightness_classes
    return predictor


def whole_of(predictor: Predictor, volume: np.ndarray) -> np.ndarray:
    """All probabilities (K, D, H, W) at once."""
    return np.concatenate([planes.copy() for _, planes in predictor.slabs(volume)], axis=1)


def expected_values(array: np.ndarray) -> np.ndarray:
    """Label values 0, 3 and 70 of dark, medium and bright."""
    return np.array([0, 3, 70])[np.rint(2 * array).astype(int)]


@pytest.mark.parametrize(
    ("spacing", "direction", "size"),
    [
        (SPACING, (1, 0, 0, 0, 1, 0, 0, 0, 1), SIZE),
        (SPACING, OBLIQUE, (14, 18, 15)),
        (SPACING, (-1, 0, 0, 0, -1, 0, 0, 0, 1), SIZE),
        (SPACING, (0, 0, -1, 1, 0, 0, 0, -1, 0), (20, 16, 16)),
    ],
    ids=["straight", "oblique", "RAS", "permuted"],
)
def test_labels_lie_on_the_scan_s_own_voxels(predictor: Predictor, spacing, direction, size) -> None:
    image = scan(blocks(size), spacing, direction)
    found = predictor.segment(image).labels
    assert found.GetSize() == image.GetSize()
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(found, get)(), getattr(image, get)(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected_values(blocks(size)))


def test_an_anisotropic_oblique_scan_is_segmented_where_its_structures_are(predictor: Predictor) -> None:
    values = np.zeros((8, 40, 30), np.float32)
    values[2:6, 10:30, 8:22] = 0.5
    values[3:5, 16:24, 11:19] = 1
    image = scan(values, (0.5, 0.5, 2.0), OBLIQUE)
    found = sitk.GetArrayFromImage(predictor.segment(image).labels)
    expected = expected_values(values)
    for value in (3, 70):
        overlap = 2 * ((found == value) & (expected == value)).sum()
        assert overlap / ((found == value).sum() + (expected == value).sum()) > 0.8


def test_a_scan_larger_than_the_grid_is_seen_through_windows_that_agree(predictor: Predictor) -> None:
    large = blocks((37, 44, 29))
    found = sitk.GetArrayFromImage(predictor.segment(scan(large)).labels)
    np.testing.assert_array_equal(found, expected_values(large))


def test_in_a_larger_scan_the_trained_field_of_view_is_segmented_as_if_alone(predictor: Predictor) -> None:
    """By a network that knows where in its window a structure lies."""
    ramp = torch.linspace(-4, 4, SIZE[0])
    predictor.windows = Windows(sizes=(1.0,))
    predictor.network = lambda seen: torch.cat([0 * seen, seen * 0 + ramp, seen * 0 - 9], dim=1)
    alone = sitk.GetArrayFromImage(predictor.segment(scan(blocks(SIZE))).labels)
    larger = sitk.GetArrayFromImage(predictor.segment(scan(blocks((32, 36, 24)))).labels)
    np.testing.assert_array_equal(larger[5:-5, 9:-9, 9:-9], alone[1:-1, 1:-1, 1:-1])


def test_what_the_atlases_show_is_seen_in_three_sizes_what_lies_around_it_in_one(predictor: Predictor) -> None:
    seen = []
    predictor.network = lambda volumes: seen.append(tuple(volumes.shape)) or brightness_classes(volumes)
    predictor.segment(scan(blocks(SIZE)))
    assert sorted(seen) == [(1, 1, 14, 18, 14), (1, 1, *GRID.shape), (1, 1, 18, 22, 18)]
    seen.clear()
    predictor.segment(scan(blocks((24, 20, 16))))
    assert sum(shape[2:] != GRID.shape for shape in seen) == 2 and sum(shape[0] for shape in seen) > 3


def test_the_mean_of_three_sizes_is_that_of_their_log_probabilities(predictor: Predictor) -> None:
    """By a network that says the more for class 1 the smaller a volume is."""
    predictor.network = lambda volumes: torch.cat(
        [0 * volumes, 0 * volumes + 100 / volumes.shape[4], 0 * volumes - 9], dim=1
    )
    edges = np.array([14, 16, 18])
    expected = 1 / (1 + np.exp(-(100 / edges).mean()))
    found = np.concatenate([part.copy() for _, part in predictor.slabs(blocks(SIZE), home=(0, 0, 0))], axis=1)
    np.testing.assert_allclose(found[1], expected, atol=0.01)


def test_windows_give_what_the_network_gives_on_the_whole(predictor: Predictor) -> None:
    volume = np.random.default_rng(0).uniform(0, 1, (21, 33, 18)).astype(np.float32)
    whole = brightness_classes(torch.as_tensor(volume)[None, None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(whole_of(predictor, volume), whole, rtol=0, atol=0.02)  # may compute in bfloat16


def test_probabilities_come_on_the_scan_s_grid_and_sum_to_one(predictor: Predictor) -> None:
    image = scan(blocks((24, 18, 12)), (1.0, 1.0, 1.5), OBLIQUE)
    result = predictor.segment(image, probabilities=True)
    maps = np.array([sitk.GetArrayFromImage(probability) for probability in result.probabilities])
    assert len(maps) == 3
    assert result.probabilities[0].GetDirection() == image.GetDirection()
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-4)
    labels = sitk.GetArrayFromImage(result.labels)
    clear = np.sort(maps, axis=0)[-1] - np.sort(maps, axis=0)[-2] > 1e-3
    np.testing.assert_array_equal(np.array([0, 3, 70])[maps.argmax(0)][clear], labels[clear])
    assert predictor.segment(image).probabilities is None


@pytest.mark.parametrize("components", ["atlases", "largest", "all"])
def test_small_pieces_go_where_atlases_have_none(components: str) -> None:
    """Class 1 is one piece in the atlas, class 2 is not."""
    atlas = np.zeros((1, *GRID.shape), np.uint8)
    atlas[0, 2:6, 2:6, 2:6] = 1
    atlas[0, 7:9, 7:9, 7:9] = atlas[0, 7:9, 1:3, 7:9] = 2
    predictor = Predictor(tiny_bundle(grid=GRID, atlas_labels=atlas), CPU)
    predictor.network = brightness_classes
    values = blocks(SIZE)
    values[1, 1, 1], values[1, -2, 1] = 0.5, 1.0
    expected = expected_values(values)
    expected[1, 1, 1] *= components == "all"
    expected[1, -2, 1] *= components != "largest"
    found = predictor.segment(scan(values), components=components)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), expected)
    assert found.pieces_left_out == {"atlases": 1, "largest": 2, "all": 0}[components]


def test_a_trained_bundle_s_network_is_the_one_that_answers() -> None:
    bundle = tiny_bundle(grid=GRID)
    volume = np.random.default_rng(0).uniform(0, 1, GRID.shape).astype(np.float32)
    with torch.no_grad():
        expected = bundle.segmentation_net()(torch.as_tensor(volume)[None, None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(whole_of(Predictor(bundle, CPU), volume), expected, rtol=0, atol=0.03)
