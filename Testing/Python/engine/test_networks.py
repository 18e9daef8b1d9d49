"""The networks: any size of volume, and the parameter names of the original release."""

from __future__ import annotations

import pytest
import torch

from brbs.networks import (
    Convolution,
    RegistrationNet,
    SegmentationNet,
    UNet,
    Up,
    crop_margins,
    double_size,
    pad_to_multiple,
)
from brbs.settings import PAPER

CHANNELS = (4, 8, 8, 8, 4)


@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 9, 14), (4, 1, 7)])
def test_any_size_comes_back_in_its_size(shape: tuple[int, int, int]) -> None:
    volume = torch.rand(2, 1, *shape)
    with torch.no_grad():
        assert SegmentationNet(3, CHANNELS)(volume).shape == (2, 3, *shape)
        assert RegistrationNet(CHANNELS)(volume, volume).shape == (2, 3, *shape)


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((8, 12, 16), [(4, 6, 8), (2, 3, 4)]), ((5, 9, 14), [(3, 5, 7), (2, 3, 4)]), ((1, 2, 3), [(1, 1, 2), (1, 1, 1)])],
)
def test_odd_axes_are_rounded_up_level_by_level_and_even_ones_are_as_published(shape, levels) -> None:
    """Padding the volume instead would more than double some: 36 x 36 x 36 to 48 x 48 x 48."""
    torch.manual_seed(0)
    network, seen, volume = SegmentationNet(2, CHANNELS, ((2, 2, 2), (2, 2, 2))), [], torch.rand(1, 1, *shape)
    for level in (network.unet.down1, network.unet.down2):
        level.register_forward_hook(lambda module, given, result: seen.append(tuple(result.shape[2:])))
    published = SegmentationNet(2, CHANNELS)
    published.load_state_dict(network.state_dict())
    with torch.no_grad():
        found, expected = network(volume), published(volume)
    assert seen == levels and found.shape == expected.shape == (1, 2, *shape)
    assert torch.equal(found, expected) == (shape == (8, 12, 16))


def test_a_stack_of_thick_slices_is_halved_within_them() -> None:
    strides, seen = ((1, 2, 2), (1, 2, 2)), []
    network, volume = SegmentationNet(3, CHANNELS, strides), torch.rand(1, 1, 5, 12, 16)
    network.unet.down2.register_forward_hook(lambda module, given, result: seen.append(tuple(result.shape[2:])))
    with torch.no_grad():
        assert network(volume).shape == (1, 3, 5, 12, 16)
    assert seen == [(5, 3, 4)]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gradients_in_bfloat16_hold_nothing_but_what_was_given(depth: int) -> None:
    """With memory full of NaN, of which oneDNN takes in some where a convolution sees two planes."""
    torch.manual_seed(0)
    convolution, volume = Convolution(16, 32), torch.randn(2, 16, depth, 12, 12)
    direction = torch.randn(2, 32, depth, 12, 12)
    (convolution(volume) * direction).sum().backward()
    expected, convolution.weight.grad = convolution.weight.grad, None
    for _ in range(6):
        full = [torch.full((size,), torch.nan) for size in (10**3, 10**4, 10**5, 10**6) * 3]
        del full
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = convolution(volume)
        (found.float() * direction).sum().backward()
        torch.testing.assert_close(convolution.weight.grad, expected, rtol=0, atol=0.02 * float(expected.abs().max()))
        convolution.weight.grad = None


def test_an_odd_size_is_padded_in_the_middle_and_cropped_back() -> None:
    volume = torch.rand(1, 1, 5, 8, 6)
    padded, margins = pad_to_multiple(volume, (4, 4, 4))
    assert padded.shape == (1, 1, 8, 8, 8)
    assert torch.equal(padded[:, :, 1:6, :, 1:7], volume)
    assert float(padded.sum()) == pytest.approx(float(volume.sum()))
    assert torch.equal(crop_margins(padded, margins), volume)


def test_a_network_on_a_padded_volume_answers_as_on_the_odd_one() -> None:
    torch.manual_seed(0)
    network, volume = SegmentationNet(2, CHANNELS).eval(), torch.rand(1, 1, 6, 7, 8)
    padded, margins = pad_to_multiple(volume, (4, 4, 4))
    with torch.no_grad():
        torch.testing.assert_close(network(volume), crop_margins(network(padded), margins))


def test_registration_tells_moving_from_fixed() -> None:
    torch.manual_seed(0)
    network, first, second = RegistrationNet(CHANNELS), torch.rand(1, 1, 8, 8, 8), torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert not torch.allclose(network(first, second), network(second, first), atol=1e-3)


def test_parameter_names_and_shapes_are_the_release_s() -> None:
    state = RegistrationNet(PAPER.channels).state_dict()
    shapes = {
        "unet.inc.double_conv.0.weight": (16, 2, 3, 3, 3),
        "unet.inc.double_conv.1.weight": (16,),
        "unet.inc.double_conv.3.bias": (16,),
        "unet.down1.maxpool_conv.1.double_conv.0.weight": (32, 16, 3, 3, 3),
        "unet.down4.maxpool_conv.1.double_conv.4.bias": (256,),
        "unet.up1.conv.double_conv.0.weight": (128, 256 + 128, 3, 3, 3),
        "unet.up4.conv.double_conv.3.weight": (16, 16, 3, 3, 3),
        "out_conv.weight": (3, 16, 1, 1, 1),
        "out_conv.bias": (3,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    blocks = {".".join(name.split(".")[:2]) for name in state}
    levels = [f"unet.{way}{level}" for way in ("down", "up") for level in (1, 2, 3, 4)]
    assert blocks == {"unet.inc", "out_conv.weight", "out_conv.bias", *levels}


def test_normalisation_works_on_groups_of_four_channels() -> None:
    network = UNet(1, (4, 8, 16, 8, 4))
    groups = {m.num_channels: m.num_groups for m in network.modules() if isinstance(m, torch.nn.GroupNorm)}
    assert groups == {4: 1, 8: 2, 16: 4}


@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 16, 8)])
def test_an_even_number_of_widths_is_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="odd number"):
        UNet(1, channels)


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2), (2, 1, 2), (1, 1, 2)])
def test_a_level_up_is_upsampling_joining_and_convolving(stride: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    level = Up(12, 8, stride).double()
    x = torch.rand(2, 8, 3, 4, 5, dtype=torch.float64)
    skip = torch.rand(2, 4, *(size * step for size, step in zip(x.shape[2:], stride)), dtype=torch.float64)
    doubled = torch.nn.functional.interpolate(x, scale_factor=stride, mode="trilinear", align_corners=True)
    assert torch.allclose(double_size(x, stride), doubled, atol=1e-6)
    assert torch.allclose(level(x, skip), level.conv(torch.cat([skip, doubled], dim=1)), atol=1e-5)
