import pytest
import torch

from spknorm.method import pooling
from spknorm.method.emotion_heads import make_emotion_head


def features(*lengths):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 5, generator=generator, requires_grad=True) for size in lengths]


@pytest.mark.parametrize("lengths", [(4,), (3, 3), (2, 5, 1)])
def test_a_gpu_pools_in_few_kernels_what_the_cpu_pools_one_by_one(lengths):
    one_by_one, at_once = features(*lengths), features(*lengths)
    for how, of in (
        (lambda few: pooling.padded(few)[0], lambda few: pooling._padded_at_once(few)[0]),
        (pooling.means, pooling._means_at_once),
    ):
        expected, found = how(one_by_one), of(at_once)
        torch.testing.assert_close(found, expected)
        weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
        expected.mul(weights).sum().backward()
        found.mul(weights).sum().backward()
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_mean_pooling_is_s3prl_s_bit_for_bit_on_the_cpu_and_its_mean_elsewhere():
    from s3prl.downstream.model import MeanPooling

    padded, lengths = torch.randn(3, 6, 5), torch.tensor([6, 2, 1], dtype=torch.int32)
    expected, _ = MeanPooling()(padded, lengths)
    assert torch.equal(pooling.MeanPooling()(padded, lengths)[0], expected)
    torch.testing.assert_close(pooling.mean_over_time(padded, lengths), expected)


def test_the_emotion_head_pools_so_whatever_options_choose_the_mean():
    for options in ({}, {"pooling": "MeanPooling"}):
        head = make_emotion_head("UtteranceLevel", 5, 4, options)
        assert type(head.pooling) is pooling.MeanPooling
