"""How a batch is cut is a matter of memory: the step is that of the uncut batch."""

import pytest
import torch
from tiny_runs import make_runner, settings_of, train, weights_of
from tiny_upstreams import make_hubert

from spknorm.batches.parts import evenly
from spknorm.features.sources import Source
from spknorm.runner.pieces import _within

NO_DROPOUT = dict.fromkeys(
    ("dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features"), 0.0
)


@pytest.fixture(scope="module")
def plain_hubert(tmp_path_factory):
    return make_hubert(tmp_path_factory.mktemp("plain") / "hubert.pt", **NO_DROPOUT)


def settings(corpora, **options):
    strategy = options.pop("strategy", "TAP")
    return settings_of(
        corpora, strategy=strategy, update="literal", total_steps=2, eval_step=2,
        gradient_accumulate_steps=2, **options,
        expert={
            "datarc": {"train_batch_size": 3},
            "speaker_corpus": {"batch_size": 6, "micro_batch_size": None},
            "modelrc": {"speaker_head": {"batch_norm": True}},
        },
        other={"optimizer": {"torch_optim_name": "SGD", "lr": 0.1, "groups": None}},
    )  # fmt: skip


def differing(one, other):
    return [n for n, w in one.items() if not torch.allclose(w, other[n], rtol=1e-5, atol=1e-6)]


@pytest.fixture(scope="module", params=["none", "SNP", "TAP"])
def uncut(request, plain_hubert, tiny_corpora, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncut")
    train(plain_hubert, settings(tiny_corpora, strategy=request.param), folder)
    return request.param, weights_of(folder)


@pytest.mark.parametrize("most", [1, pytest.param(2, marks=pytest.mark.slow), 4, 100])
def test_a_step_is_the_same_however_many_utterances_pass_at_once(
    uncut, most, plain_hubert, tiny_corpora, tmp_path
):
    strategy, expected = uncut
    mapping = settings(tiny_corpora, strategy=strategy, micro_batch=most)
    train(plain_hubert, mapping, tmp_path)
    assert not differing(expected, weights_of(tmp_path))


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize("room", [1, 2])
def test_what_memory_does_not_hold_at_once_is_cut_told_and_the_step_is_the_same(
    uncut, room, plain_hubert, tiny_corpora, tmp_path, monkeypatch
):
    strategy, expected = uncut
    runner = make_runner(plain_hubert, settings(tiny_corpora, strategy=strategy), tmp_path)
    features_of = Source.__call__

    def small(self, batch, *, corpus):
        if runner.expert.training and len(batch.ids) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return features_of(self, batch, corpus=corpus)

    monkeypatch.setattr(Source, "__call__", small)
    runner.train()
    assert not differing(expected, weights_of(tmp_path))
    assert runner.counters.out_of_memory == 0
    told = (tmp_path / "log.log").read_text()
    assert f"at most {runner.counters.most_frames} frames pass the upstream at once" in told


def test_places_are_cut_evenly_by_number_and_by_what_they_take_padded():
    assert evenly([0, 1, 2, 3, 4], 2) == [[0], [1, 2], [3, 4]]
    sizes = [10, 30, 20, 10]
    assert _within([0, 1, 2, 3], sizes, None) == [[0, 1, 2, 3]]
    assert _within([0, 1, 2, 3], sizes, 120) == [[0, 1, 2, 3]]
    assert _within([0, 1, 2, 3], sizes, 60) == [[0, 3, 2], [1]]
    assert _within([0, 1, 2, 3], sizes, 20) == [[0, 3], [2], [1]]


@pytest.mark.parametrize(("little", "calls"), [(2**40, [6, 6]), (1, [3, 3, 2, 2, 2])])
def test_the_cpu_takes_micro_batches_together_while_that_is_little(
    little, calls, plain_hubert, tiny_corpora, tmp_path, monkeypatch
):
    mapping = settings(tiny_corpora)
    mapping["downstream_expert"]["speaker_corpus"]["micro_batch_size"] = 2
    mapping["downstream_expert"]["modelrc"]["speaker_head"]["batch_norm"] = False
    mapping["runner"] |= {"total_steps": 1, "eval_step": 1}
    runner = make_runner(plain_hubert, mapping, tmp_path)
    features_of, seen = Source.__call__, []

    def counted(self, batch, *, corpus):
        if runner.expert.training:
            seen.append(len(batch.ids))
        return features_of(self, batch, corpus=corpus)

    monkeypatch.setattr(Source, "__call__", counted)
    monkeypatch.setattr("spknorm.runner.pieces._LITTLE", little)
    runner.train()
    assert seen == calls
