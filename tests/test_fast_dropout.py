"""Dropout on the CPU: its share, its seed, its independence."""

import torch

from spknorm.upstreams.fast.dropout import dropout


def test_dropout_keeps_the_mean_zeroes_its_share_and_follows_the_seed():
    x = torch.ones(1000, 1001)
    torch.manual_seed(5)
    first = dropout(x, 0.1)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.1), first)
    assert not torch.equal(dropout(x, 0.1), first)
    assert abs((first == 0).float().mean().item() - 0.1) < 0.001
    assert set(first.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.9))}
    assert dropout(x, 0.0) is x


def test_dropout_of_neighbours_is_independent():
    zeroed = (dropout(torch.ones(1_000_000), 0.5) == 0).float() - 0.5
    for lag in (1, 2, 3, 4, 8):
        assert abs((zeroed[lag:] * zeroed[:-lag]).mean().item()) < 0.002
