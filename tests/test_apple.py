"""An Apple GPU, of which there is none here: what has to be otherwise there, by stand-ins."""

import types

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spknorm.batches.seeds import seeded
from spknorm.batches.shipping import ship
from spknorm.cli.process import check_options
from spknorm.config import memory
from spknorm.config.device import tf32_in
from spknorm.errors import ConfigError, is_out_of_memory
from spknorm.features.ahead import Ahead
from spknorm.method.optim.clipping import clip
from spknorm.method.optim.lists import read
from spknorm.method.optim.optimizers import fuses
from spknorm.method.optim.precision import evaluation_precision, precision_of
from spknorm.schema import RunnerConfig
from spknorm.upstreams.fast.attention import runs_packed

APPLE = torch.device("mps")


class _NoFloat64(TorchDispatchMode):
    """Refuses float64, as such a GPU does."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor) and one.dtype is torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return made


def test_its_own_generator_is_seeded_and_put_back(monkeypatch):
    own = torch.Generator()
    monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: own)
    before, drawn = own.get_state(), []
    for _ in range(2):
        with seeded("step", 1, device=APPLE):
            drawn.append(torch.rand(3, generator=own))
    assert torch.equal(*drawn)
    assert torch.equal(own.get_state(), before)


@pytest.mark.parametrize("there", [False, True])
def test_what_it_holds_in_reserve_is_let_go_of(monkeypatch, there):
    asked = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there)
    monkeypatch.setattr(torch, "mps", types.SimpleNamespace(empty_cache=lambda: asked.append(1)))
    memory.release()
    assert asked == [1] * there


def test_its_memory_that_ran_out_is_known_as_such():
    text = "MPS backend out of memory (MPS allocated: 17.00 GB, other allocations: 1.00 GB)."
    assert is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize(
    ("asked", "computed"), [({}, "fp32"), ({"precision": "bf16"}, "bf16"), ({"fp16": True}, "fp16")]
)
def test_it_computes_in_float32_unless_it_is_told_otherwise_and_predicts_in_that(asked, computed):
    run = RunnerConfig(**asked)
    assert precision_of(run, APPLE) == computed
    assert evaluation_precision(run, APPLE) == "fp32"


def test_nothing_that_is_for_cuda_alone_is_asked_of_it():
    assert not Ahead({}, None, APPLE).copies
    assert not runs_packed(APPLE, torch.bfloat16, 64)
    assert tf32_in("mps") == []
    assert not fuses("Adam", [types.SimpleNamespace(device=APPLE)])
    elsewhere = torch.device("meta")  # where no memory can be pinned for, either
    (there,) = ship([torch.ones(3)], elsewhere)
    assert there.device == elsewhere


def test_norms_and_losses_are_read_without_float64():
    weight = torch.nn.Parameter(torch.ones(4))
    weight.grad = torch.full((4,), 3.0)
    with _NoFloat64():
        assert read([torch.tensor(0.5), torch.tensor([1, 2])]) == [0.5, [1.0, 2.0]]
        norms, *_ = clip({"emotion_head": [weight]}, 3.0, together="group", also=lambda _: ())
    assert norms == {"emotion_head": 6.0}
    assert weight.grad.norm() == pytest.approx(3.0)
    with _NoFloat64(), pytest.raises(TypeError):
        read([torch.ones(2, dtype=torch.float64)])


def test_the_command_line_refuses_it():
    with pytest.raises(ConfigError) as error:
        check_options(types.SimpleNamespace(device="mps"))
    assert str(error.value) == "`--device` must be cpu, cuda or cuda:N, but is `mps`."
