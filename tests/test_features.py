import numpy as np
import pytest
import soundfile
import torch
from kept_features import (
    corpus,  # noqa: F401 (fixtures)
    featurizer_of,
    pooled_features,
    upstream,  # noqa: F401
    where,  # noqa: F401
)

from spknorm.config import parse
from spknorm.features import FrozenFeatures, plan
from spknorm.features.reader import upstream_reader
from spknorm.features.reading import Reading
from spknorm.features.store import FeatureStore
from spknorm.method.model import Heads
from spknorm.schema import UpstreamConfig


def config(**sections):
    expert = {"spknorm": {"strategy": "none"}, **sections.pop("expert", {})}
    return parse({"downstream_expert": expert, **sections})


def wavs_of(utterances):
    return [
        torch.from_numpy(soundfile.read(utterance.path, dtype="float32")[0])
        for utterance in utterances
    ]


def heads_for(dim, **options):
    torch.manual_seed(0)
    return Heads(dim, num_emotions=4, num_speakers=3, projector_dim=8, **options)


@pytest.mark.parametrize(
    ("sections", "trainable", "expected"),
    [
        ({}, False, "pooled"),
        ({}, True, "off"),
        ({"upstream": {"cache": "off"}}, False, "pooled"),  # in memory
        ({"upstream": {"packed": False}}, False, "off"),
        ({"runner": {"engine": "s3prl"}}, False, "off"),
        ({"expert": {"spknorm": {"strategy": "SNP"}}}, False, "frames"),
        ({"expert": {"modelrc": {"select": "NonLinearProjection"}}}, False, "frames"),
        (
            {
                "expert": {
                    "modelrc": {
                        "select": "DeepModel",
                        "DeepModel": {
                            "model_type": "FCN",
                            "hidden_dim": 8,
                            "kernel_size": 3,
                            "padding": 1,
                            "pooling": 5,
                            "dropout": 0.1,
                        },
                    }
                }
            },
            False,
            "frames",
        ),
        (
            {"expert": {"modelrc": {"UtteranceLevel": {"pooling": "AttentivePooling"}}}},
            False,
            "frames",
        ),
        (
            {
                "expert": {
                    "modelrc": {
                        "UtteranceLevel": {
                            "pooling": "MeanPooling",
                            "pre_net": {"select": "FrameLevel"},
                        }
                    }
                }
            },
            False,
            "frames",
        ),
    ],
)
def test_what_may_be_kept_follows_from_the_configuration(sections, trainable, expected):
    assert plan(config(**sections), upstream_trainable=trainable) == expected


@pytest.mark.parametrize("selection", ["hidden_states", "last_hidden_state"])
@pytest.mark.parametrize("normalize", [False, True])
def test_pooled_features_give_the_losses_and_gradients_of_the_frames(
    upstream, corpus, where, selection, normalize
):
    featurizer = featurizer_of(upstream, selection, normalize=normalize)
    heads = heads_for(32, strategy="none")
    labels = torch.tensor([0, 2])
    same_length = [corpus[0], corpus[2]]
    wavs = wavs_of(same_length)
    with torch.no_grad():
        output = upstream(wavs)
    parameters = [*featurizer.parameters(), *heads.parameters()]
    expected = heads.emotion(featurizer(wavs, output), labels).loss
    expected_gradients = torch.autograd.grad(expected, parameters)

    frozen = FrozenFeatures(upstream, featurizer, kind="pooled", config=where)
    kept = frozen.keep(corpus)
    loss = heads.emotion(kept.features(["u0", "u2"]), labels).loss
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(torch.autograd.grad(loss, parameters), expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_frames_are_those_of_each_utterance_alone(upstream, corpus, where):
    featurizer = featurizer_of(upstream)
    frozen = FrozenFeatures(upstream, featurizer, kind="frames", config=where)
    features = frozen.keep(corpus).features([u.id for u in corpus])
    for utterance, frames in zip(corpus, features, strict=True):
        wavs = wavs_of([utterance])
        with torch.no_grad():
            (alone,) = featurizer(wavs, upstream(wavs))
        torch.testing.assert_close(frames, alone)


def test_a_layer_selection_keeps_that_layer_alone(upstream, corpus, where):
    featurizer = featurizer_of(upstream, layer_selection=1)
    frozen = FrozenFeatures(upstream, featurizer, kind="frames", config=where)
    kept = frozen.keep(corpus)
    wavs = wavs_of(corpus[:1])
    with torch.no_grad():
        (alone,) = featurizer(wavs, upstream(wavs))
    torch.testing.assert_close(kept.features(["u0"])[0], alone)


def test_an_upstream_without_the_selection_says_what_it_has(upstream, corpus, where):
    with pytest.raises(
        ValueError, match=r"^This upstream has no `PR` \(-s\); it has hidden_states, "
    ):
        pooled_features(upstream, corpus, selection="PR", config=where)


def test_training_mode_is_left_out_of_features_and_given_back(upstream, corpus, where):
    upstream.train()
    first = pooled_features(upstream, corpus, config=where)
    assert upstream.training
    upstream.eval()
    off = UpstreamConfig(cache="off")
    np.testing.assert_array_equal(pooled_features(upstream, corpus, config=off), first)


def test_utterances_of_one_length_may_pass_together(upstream, corpus, where):
    reading = Reading("hidden_states", None, False, 320, pooled=True)
    reader = upstream_reader(upstream, reading, config=where)
    one_by_one = reader.read(corpus)
    reader._group_size = 16  # as on an accelerator
    np.testing.assert_allclose(reader.read(corpus), one_by_one, atol=1e-5)


def test_a_fill_that_is_asked_to_end_keeps_what_it_has(tmp_path):
    def items():
        yield from ((str(number), np.full((2, 3), number)) for number in range(3))
        raise SystemExit(138)

    with pytest.raises(SystemExit):
        FeatureStore(tmp_path, about={}).add(items())
    assert FeatureStore(tmp_path, about={}).missing(["0", "1", "2", "3"]) == ["3"]
