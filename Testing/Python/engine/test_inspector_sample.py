"""What the inspector shows is what training sees, and a viewer can make it of the files without the networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import brightness_classes, smooth_noise, tiny_bundle

from brbs.anisotropy import axis_scales
from brbs.generation import draw_fractions, space_style_sample
from brbs.inspector_sample import NEVER, SamplePath, centre
from brbs.model import ModelBundle
from brbs.steps import displacement
from brbs.warp import sampling_grid, warp

CPU = torch.device("cpu")
BETAS = (0.0, 0.3, 0.49, 0.51, 0.55, 0.7, 0.85, 0.99, 1.0)


def calm_bundle() -> ModelBundle:
    """Its displacements are shorter than two voxels."""
    bundle = tiny_bundle()
    registration = {name: 0.2 * value if "out_conv" in name else value for name, value in bundle.registration.items()}
    return replace(bundle, registration=registration)


def scans(bundle: ModelBundle) -> list[np.ndarray]:
    return [smooth_noise((1, 1, *bundle.grid.shape), seed)[0, 0].sigmoid().numpy() for seed in (5, 6)]


def published(bundle: ModelBundle) -> ModelBundle:
    return replace(bundle, settings=replace(bundle.settings, augmentation="published"))


def flows(bundle: ModelBundle) -> tuple[torch.Tensor, ...]:
    """Atlas and scans (1, 1, D, H, W), and the displacement fields style -> atlas and atlas -> space."""
    atlas, style, space = (
        torch.as_tensor(volume, dtype=torch.float32)[None, None] for volume in (bundle.atlas_images[0], *scans(bundle))
    )
    network = bundle.registration_net()
    scales = axis_scales(bundle.settings.registration_scale, bundle.grid.spacing[::-1])
    with torch.no_grad():
        return atlas, style, displacement(network, style, atlas, scales), displacement(network, atlas, space, scales)


def onehot(classes: np.ndarray | torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.as_tensor(classes).long(), 3).movedim(-1, 0)[None].float()


def opinion(bundle: ModelBundle) -> torch.Tensor:
    """S's classes of the style scan."""
    with torch.no_grad():
        return bundle.segmentation_net()(torch.as_tensor(scans(bundle)[0])[None, None])[0].argmax(0)


def test_a_default_sample_mixes_both_label_maps_and_interpolates_each_scan_once() -> None:
    bundle = calm_bundle()
    atlas, style, flow_u, flow_l = flows(bundle)
    assert len(opinion(bundle).unique()) > 1
    path, alpha, beta = SamplePath(bundle, 0, *scans(bundle), CPU), 0.6, 0.7
    both = alpha * flow_l + warp(flow_u, alpha * flow_l)  # one field after the other
    image = torch.lerp(warp(atlas, alpha * flow_l), warp(style, both), beta)
    labels = torch.lerp(warp(onehot(bundle.atlas_labels[0]), alpha * flow_l), warp(onehot(opinion(bundle)), both), beta)
    found_image, found_labels = path.at(alpha, beta)
    inside = (..., *[slice(4, -4)] * 3)  # no displacement leads further
    assert 0.5 < flow_u.abs().max() < 2 and 0.5 < flow_l.abs().max() < 2
    np.testing.assert_allclose(found_image[inside], image[inside], atol=1e-4)
    clear = labels.topk(2, dim=1).values.diff(dim=1).abs()[inside] > 1e-3
    assert torch.equal(found_labels[inside][clear], labels.argmax(1, keepdim=True)[inside][clear])


def test_a_published_sample_keeps_the_atlas_s_label_map() -> None:
    bundle = published(tiny_bundle())
    atlas, style, flow_u, flow_l = flows(bundle)
    path = SamplePath(bundle, 0, *scans(bundle), CPU)
    image, labels = space_style_sample(atlas, onehot(bundle.atlas_labels[0]), warp(style, flow_u), flow_l, 0.6, 1.0)
    found_image, found_labels = path.at(0.6, 1.0)
    np.testing.assert_allclose(found_image, image, atol=1e-4)
    np.testing.assert_array_equal(found_labels, labels.argmax(1, keepdim=True))
    assert (path.sample(0.6, 1.0).style_switch == NEVER).all()


class Brightness(torch.nn.Module):
    """S that knows only brightness, so that its structures are as smooth as the scan."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return brightness_classes(image)


@pytest.fixture(scope="module")
def path() -> SamplePath:
    bundle = tiny_bundle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelBundle, "segmentation_net", lambda _: Brightness())
        return SamplePath(bundle, 0, *scans(bundle), CPU)


@pytest.mark.parametrize("beta", BETAS)
def test_the_switch_tells_the_label_map_of_every_style(path: SamplePath, beta: float) -> None:
    sample = path.sample(0.0, beta)
    shown = np.where(beta > sample.style_switch, sample.style_labels, sample.atlas_labels)
    sure = np.abs(sample.style_switch - beta) > 1e-4
    sure |= beta == 1
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(shown[sure], sample.generated_labels[sure])


def test_every_switch_lies_in_the_second_half_of_the_style_change(path: SamplePath) -> None:
    switch = path.sample(0.0, 0.0).style_switch
    assert switch.dtype == np.float32
    switching = switch != NEVER
    assert 0.1 < switching.mean() < 0.9
    assert switch[switching].min() >= 0.5 and switch[switching].max() < 1


@pytest.mark.parametrize("beta", BETAS)
def test_warping_what_the_switch_tells_gives_the_label_map_but_for_interpolation(path: SamplePath, beta: float) -> None:
    """A viewer warps classes, the method probabilities: they differ beside borders only, in few voxels."""
    alpha = 0.6
    still, moved = path.sample(0.0, beta), path.sample(alpha, beta)
    shown = np.where(beta > still.style_switch, still.style_labels, still.atlas_labels)
    grid = sampling_grid(alpha * torch.as_tensor(moved.flow)[None])
    warped = torch.nn.functional.grid_sample(onehot(shown), grid, padding_mode="border", align_corners=True)
    made = torch.as_tensor(moved.generated_labels)[None, None].long()
    differs = warped.argmax(1, keepdim=True) != made
    nearby = torch.nn.functional.max_pool3d((warped == warped.amax(1, keepdim=True)).float(), 3, 1, 1)
    assert differs.float().mean() < 0.06
    assert not differs.any() or nearby.gather(1, made)[differs].mean() > 0.9


def test_draws_are_the_publication_s_and_repeat_with_the_seed(path: SamplePath) -> None:
    first, again, other = path.draws(4, 0), path.draws(4, 0), path.draws(4, 1)
    assert [(draw.alpha, draw.beta) for draw in first] == [(draw.alpha, draw.beta) for draw in again]
    assert first[0].alpha != other[0].alpha
    expected = torch.Generator().manual_seed(0)
    assert [first[0].alpha, first[0].beta] == draw_fractions(2, expected).tolist()
    sample = path.sample(first[0].alpha, first[0].beta)
    plane = centre(sample.atlas_labels)[0]
    np.testing.assert_allclose(first[0].image, sample.generated_image[plane])
    np.testing.assert_array_equal(first[0].labels, sample.generated_labels[plane])
