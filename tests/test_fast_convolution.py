import pytest
import torch
from torch import nn

from spknorm.upstreams.fast.convolution import convolve, pays_off


def reference(convolution, x, lengths):
    """Each utterance alone through torch's convolution, cut to its own length."""
    parts = torch.split(x, lengths)
    return torch.cat([convolution(p.T[None])[0].T[: len(p)] for p in parts])


@pytest.mark.parametrize("width", [64, 65, 128])
@pytest.mark.parametrize("lengths", [[5], [1, 2, 3], [65], [129, 258], [300, 17, 64]])
def test_outputs_and_gradients_are_those_of_torch(width, lengths):
    torch.manual_seed(0)
    convolution = nn.Conv1d(12, 12, width, padding=width // 2, groups=3, bias=False).double()
    exact = torch.randn(sum(lengths), 12, dtype=torch.float64, requires_grad=True)
    x = exact.detach().float().requires_grad_()
    weight = convolution.weight.detach().float().requires_grad_()
    expected, ours = reference(convolution, exact, lengths), convolve(x, lengths, weight)
    torch.testing.assert_close(ours, expected.float(), rtol=1e-5, atol=1e-5)
    direction = torch.randn_like(expected)
    expected.backward(direction)
    ours.backward(direction.float())
    torch.testing.assert_close(x.grad, exact.grad.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        weight.grad, convolution.weight.grad.float(), rtol=1e-5, atol=1e-5 * sum(lengths)
    )


def test_an_utterance_does_not_hear_its_neighbour():
    weight = torch.randn(4, 4, 64)
    quiet, loud = torch.randn(40, 4), 1e3 * torch.randn(90, 4)
    alone = convolve(quiet, [40], weight)
    between = convolve(torch.cat([loud, quiet, loud]), [90, 40, 90], weight)[90:130]
    torch.testing.assert_close(between, alone, rtol=1e-4, atol=1e-1)  # rounding of the loud ones


def test_half_precision_is_convolved_in_float32_and_given_back():
    x, weight = torch.randn(200, 8).bfloat16(), torch.randn(8, 2, 64).bfloat16()
    ours = convolve(x, [120, 80], weight)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, convolve(x.float(), [120, 80], weight.float()).bfloat16())


def test_what_needs_no_gradient_gets_none():
    x, weight = torch.randn(150, 8, requires_grad=True), torch.randn(8, 2, 64)
    convolve(x, [150], weight).sum().backward()
    assert x.grad.abs().sum() > 0
    weight.requires_grad_()
    convolve(x.detach(), [150], weight).sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "frames", "expected"),
    [
        ({}, 128, True),
        ({}, 127, False),
        ({"kernel_size": 32, "padding": 16}, 500, False),
        ({"stride": 2}, 500, False),
        ({"dilation": 2}, 500, False),
        ({"padding": 31}, 500, False),
        ({"padding_mode": "reflect"}, 500, False),
        ({"out_channels": 8}, 500, False),
    ],
)
def test_it_is_used_for_long_audio_and_for_the_convolution_that_it_knows(options, frames, expected):
    usual = {"in_channels": 4, "out_channels": 4, "kernel_size": 64, "padding": 32, "groups": 2}
    expected = expected and torch.backends.mkl.is_available()
    assert pays_off(nn.Conv1d(**(usual | options)), torch.zeros(frames, 4)) == expected
