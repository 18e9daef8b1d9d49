"""S3P and MMR: the ends of the paths are known, and so is how fractions are drawn."""

from __future__ import annotations

import pytest
import torch
from tiny_model import smooth_noise
from tiny_study import prepared_study
from tiny_training import training_data

from brbs.generation import draw_fractions, draw_path, mixture, space_style_sample
from brbs.settings import PAPER, Settings
from brbs.steps import generate_published, generate_sharp
from brbs.warp import warp

SHAPE = (10, 12, 9)


@pytest.fixture
def parts() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    classes = torch.randint(3, SHAPE, generator=random)
    return {
        "atlas_image": torch.rand(1, 1, *SHAPE, generator=random),
        "atlas_onehot": torch.nn.functional.one_hot(classes, 3).movedim(-1, 0)[None].float(),
        "styled_image": torch.rand(1, 1, *SHAPE, generator=random),
        "flow": smooth_noise((1, 3, *SHAPE), 1),
    }


def test_the_path_begins_at_the_atlas(parts) -> None:
    image, labels = space_style_sample(**parts, alpha=0.0, beta=0.0)
    torch.testing.assert_close(image, parts["atlas_image"], rtol=0, atol=1e-5)
    torch.testing.assert_close(labels, parts["atlas_onehot"], rtol=0, atol=1e-5)


def test_the_path_ends_in_the_scan_s_style_and_space(parts) -> None:
    image, labels = space_style_sample(**parts, alpha=1.0, beta=1.0)
    torch.testing.assert_close(image, warp(parts["styled_image"], parts["flow"]), rtol=0, atol=1e-5)
    torch.testing.assert_close(labels, warp(parts["atlas_onehot"], parts["flow"]))


def test_style_leaves_the_labels_and_space_takes_a_share_of_the_way(parts) -> None:
    image, labels = space_style_sample(**parts, alpha=0.4, beta=0.5)
    mean = (parts["atlas_image"] + parts["styled_image"]) / 2
    torch.testing.assert_close(image, warp(mean, 0.4 * parts["flow"]), rtol=0, atol=1e-5)
    torch.testing.assert_close(labels, space_style_sample(**parts, alpha=0.4, beta=0.0)[1])


def test_mixture() -> None:
    first, second = torch.full((1, 1, 2, 2, 2), 0.8), torch.full((1, 1, 2, 2, 2), 0.4)
    for gamma, expected in ((0.0, 0.4), (1.0, 0.8), (0.25, 0.5)):
        torch.testing.assert_close(mixture(first, second, gamma), torch.full_like(first, expected))


def test_fractions_follow_beta_of_three_tenths_and_the_seed() -> None:
    drawn = draw_fractions(20000, torch.Generator().manual_seed(0))
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(drawn.var()) == pytest.approx(0.25 / 1.6, abs=0.005)  # of Beta(a, a): 1 / (4 (2 a + 1))
    assert torch.equal(drawn[:0], draw_fractions(0, torch.Generator().manual_seed(0)))
    again = draw_fractions(20000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_the_path_is_sampled_gone_to_its_end_or_not_entered() -> None:
    def drawn(sampling: str) -> list[float]:
        return draw_path(sampling, torch.Generator().manual_seed(3)).tolist()

    assert drawn("path") == draw_fractions(2, torch.Generator().manual_seed(3)).tolist()
    assert 0 < min(drawn("path")) and max(drawn("path")) < 1
    assert drawn("ends") == [1, 1] and drawn("none") == [0, 0]
    assert drawn(PAPER.sampling) == drawn("path") and drawn(Settings().sampling) == drawn("ends")


@pytest.fixture
def triple():
    """A draw whose scan 1 carries label map of its own."""
    data = training_data()
    data.scan_labels = torch.as_tensor(prepared_study().atlas_labels[:1]).expand(len(data.scans), -1, -1, -1)
    return data.draw_triple((0, 1), torch.Generator().manual_seed(1), "published")


def test_sharp_samples_are_the_published_ones_without_the_blur(triple) -> None:
    shape = triple.scan_1.shape[2:]
    flow_u, flow_l = smooth_noise((1, 3, *shape), 1), smooth_noise((1, 3, *shape), 2)
    sharp, labels, passed, _ = generate_sharp(triple, flow_u, flow_l, torch.tensor(0.6), torch.tensor(0.5))
    image, _, passed_published, _ = generate_published(triple, flow_u, flow_l, torch.tensor(0.6), torch.tensor(0.5))
    inner = (..., slice(3, -3), slice(3, -3), slice(3, -3))
    for found, expected in ((sharp, image), (passed, passed_published)):
        pair = torch.stack([found[inner].flatten(), expected[inner].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.95
        assert found[inner].diff(dim=-1).abs().mean() > expected[inner].diff(dim=-1).abs().mean()
    torch.testing.assert_close(labels.sum(1)[:, 5:-5, 5:-5, 5:-5], torch.ones_like(labels.sum(1)[:, 5:-5, 5:-5, 5:-5]))


def test_without_deformation_and_style_a_sharp_sample_is_the_drawn_atlas(triple) -> None:
    rest, zero = torch.zeros(1, 3, *triple.scan_1.shape[2:]), torch.tensor(0.0)
    image, labels, *_ = generate_sharp(triple, rest, rest, zero, zero)
    torch.testing.assert_close(image, triple.atlas_image, rtol=0, atol=1e-4)
    torch.testing.assert_close(labels, triple.atlas_onehot, rtol=0, atol=1e-4)
