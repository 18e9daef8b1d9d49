"""Group normalisation in 16 bit: the same numbers and gradients as in 64 bit, up to the rounding of 16 bit."""

import pytest
import torch

from brbs.group_norm import GroupNorm

SHAPES = [(2, 16, 8, 16, 8), (1, 8, 5, 3, 7), (3, 64, 2, 2, 2), (2, 256, 1, 1, 3), (2, 12, 4, 4)]


def gradients(layer: torch.nn.GroupNorm, x: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """Output, and gradients of the input, the weights and the biases, in float64."""
    x = x.clone().requires_grad_()
    y = layer(x)
    found = torch.autograd.grad(y, (x, layer.weight, layer.bias), upstream)
    return [part.detach().double() for part in (y, *found)]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_sixteen_bit_gradients_are_those_of_float64(shape, channels_last):
    generator = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(shape, generator=generator).bfloat16() + offset for offset in (0.7, 0.0))
    if channels_last and len(shape) == 5:
        x, upstream = (part.contiguous(memory_format=torch.channels_last_3d) for part in (x, upstream))
    layer = GroupNorm(shape[1] // 4, shape[1])
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5, generator=generator)
        layer.bias.normal_(generator=generator)
    exact = torch.nn.GroupNorm(shape[1] // 4, shape[1]).double()
    exact.load_state_dict(layer.state_dict())

    mine, expected = gradients(layer, x, upstream), gradients(exact, x.double(), upstream.double())

    for found, right in zip(mine, expected):
        assert found.shape == right.shape
        assert (found - right).norm() < 0.01 * right.norm()


def test_float32_is_pytorchs_own():
    x = torch.randn(2, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    mine, plain = GroupNorm(2, 8), torch.nn.GroupNorm(2, 8)

    for found, right in zip(gradients(mine, x, x), gradients(plain, x, x)):
        assert torch.equal(found, right)
