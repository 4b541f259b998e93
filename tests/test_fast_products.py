"""Products with weights: oneDNN's and torch's own give the same, and who is asked when."""

import pytest
import torch
from torch import nn

from spknorm.upstreams.fast import products


@pytest.fixture
def one_dnn(monkeypatch):
    """Let oneDNN multiply whatever the processor is; return how often it did."""
    calls = []
    own = products._product
    monkeypatch.setattr(products, "_mkl_takes_half", lambda: True)
    monkeypatch.setattr(products, "_product", lambda *given: calls.append(1) or own(*given))
    return calls


def with_gradients(multiply, module, x):
    x = x.clone().requires_grad_()
    module.zero_grad()
    y = multiply(module, x)
    (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    return y.detach(), x.grad, *(p.grad for p in module.parameters())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frames", [1, 450])
def test_values_and_gradients_are_those_of_the_module(one_dnn, bias, frames):
    torch.manual_seed(0)
    module, x = nn.Linear(96, 64, bias=bias), torch.randn(frames, 96)
    expected = with_gradients(lambda own, given: own(given), module, x)
    found = with_gradients(products.project, module, x)
    assert len(one_dnn) == 3
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)


def test_rounding_is_float32_s(one_dnn):
    torch.manual_seed(0)
    module, x = nn.Linear(768, 64), torch.randn(200, 768)
    exact = module.double()(x.double())
    error = (products.project(module.float(), x).double() - exact).abs().max()
    assert 0 < error < 5e-6
    assert one_dnn


def test_frozen_weights_get_no_gradient_and_cost_none(one_dnn):
    module, x = nn.Linear(8, 4).requires_grad_(False), torch.randn(3, 8, requires_grad=True)
    products.project(module, x).sum().backward()
    assert module.weight.grad is None
    torch.testing.assert_close(x.grad, module.weight.sum(dim=0).expand(3, 8))
    assert len(one_dnn) == 2


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_what_is_more_than_a_product_stays_the_module_s_own(one_dnn):
    hooked, x = nn.Linear(8, 4), torch.randn(3, 8)
    hooked.register_forward_hook(lambda module, given, output: output + 1)
    for module in (hooked, Doubled(8, 4), nn.Identity()):
        assert torch.equal(products.project(module, x), module(x))
    double = nn.Linear(8, 4).double()
    assert torch.equal(products.project(double, x.double()), double(x.double()))
    plain = nn.Linear(8, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert products.project(plain, x).dtype == torch.bfloat16
    torch.set_float32_matmul_precision("medium")
    try:
        products.project(plain, x)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert one_dnn == []


@pytest.mark.parametrize(
    ("maker", "capability", "expected"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("GenuineIntel", "AVX512", False),
        ("AuthenticAMD", "AVX2", False),
        (None, "AVX512", False),
    ],
)
def test_it_is_for_processors_that_mkl_does_not_use_whole(
    maker, capability, expected, tmp_path, monkeypatch
):
    if maker is not None:
        (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {maker}\n")
    monkeypatch.setattr(products, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products._mkl_takes_half.__wrapped__() is expected
