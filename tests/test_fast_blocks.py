"""The positional convolution as products of blocks, against torch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from spknorm.upstreams.fast import blocks


def plain(x, lengths, weight):
    groups = weight.shape[0] // weight.shape[1]
    parts = [
        functional.conv1d(part.T[None], weight, padding=weight.shape[-1] // 2, groups=groups)
        for part in x.split(lengths)
    ]
    return torch.cat([y[0].T[:size] for y, size in zip(parts, lengths, strict=True)])


@pytest.mark.parametrize(
    ("width", "group", "groups", "lengths"),
    [
        (128, 4, 3, [3, 150, 64, 1]),
        (64, 8, 2, [33]),
        (64, 3, 1, [70, 70]),
        (128, 2, 4, [1, 1, 1]),
        (96, 1, 2, [129, 8]),
    ],
)
def test_blocks_are_the_convolution_and_its_gradients(width, group, groups, lengths):
    torch.manual_seed(0)
    options = {"dtype": torch.float64, "requires_grad": True}
    x = torch.randn(sum(lengths), group * groups, **options)
    weight = torch.randn(group * groups, group, width, **options)
    ours, theirs = blocks.convolve_blocks(x, lengths, weight), plain(x, lengths, weight)
    assert torch.allclose(ours, theirs, atol=1e-10)
    direction = torch.randn_like(ours)
    for one, right in zip(
        torch.autograd.grad(ours, (x, weight), direction),
        torch.autograd.grad(theirs, (x, weight), direction),
        strict=True,
    ):
        assert torch.allclose(one, right, atol=1e-10)


def test_only_gradients_that_are_wanted_are_computed():
    x, weight = torch.randn(20, 4), torch.randn(4, 2, 64, requires_grad=True)
    blocks.convolve_blocks(x, [12, 8], weight).sum().backward()
    assert x.grad is None and weight.grad.shape == weight.shape


def test_in_bfloat16_sums_are_those_of_float32():
    torch.manual_seed(0)
    x, weight = torch.randn(90, 8), torch.randn(8, 4, 64, requires_grad=True)
    exact = plain(x, [50, 40], weight)
    found = blocks.convolve_blocks(x.bfloat16(), [50, 40], weight)
    assert found.dtype == torch.bfloat16
    assert float((found - exact).norm() / exact.norm()) < 1e-2
    direction = torch.randn_like(exact)
    (right,) = torch.autograd.grad(exact, weight, direction)
    (own,) = torch.autograd.grad(found, weight, direction.bfloat16())
    assert own.dtype == torch.float32
    assert float((own - right).norm() / right.norm()) < 1e-2


@pytest.mark.parametrize(
    ("changes", "dtype", "device", "multiplied"),
    [
        ({}, torch.bfloat16, "cuda", True),
        ({}, torch.float16, "cuda", True),
        ({}, torch.float32, "cuda", False),
        ({}, torch.bfloat16, "cpu", False),
        ({"kernel_size": 129, "padding": 64}, torch.bfloat16, "cuda", False),
        ({"kernel_size": 32, "padding": 16}, torch.bfloat16, "cuda", False),
        ({"padding": 0}, torch.bfloat16, "cuda", False),
        ({"stride": 2}, torch.bfloat16, "cuda", False),
        ({"dilation": 2}, torch.bfloat16, "cuda", False),
        ({"padding_mode": "circular"}, torch.bfloat16, "cuda", False),
        ({"out_channels": 16}, torch.bfloat16, "cuda", False),
    ],
)
def test_what_is_another_convolution_is_left_to_torch(changes, dtype, device, multiplied):
    options = {"in_channels": 8, "out_channels": 8, "kernel_size": 128, "padding": 64, "groups": 2}
    module = nn.Conv1d(**{**options, **changes})
    assert blocks.multiplies(module, dtype, torch.device(device)) is multiplied
