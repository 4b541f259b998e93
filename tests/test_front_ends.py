"""Outputs of front ends that are kept instead of being computed in every epoch."""

import pytest
import soundfile
import torch
from tiny_upstreams import featurizer_of, make_upstream  # noqa: F401 (a fixture)

from spknorm.corpora.records import Utterance
from spknorm.features import keep_front_ends
from spknorm.schema import UpstreamConfig
from spknorm.upstreams.fast import make_encoder

ON = UpstreamConfig()


@pytest.fixture
def corpus(tmp_path, tone):
    """Two utterances as files and as waveforms."""
    utterances, audio = [], []
    for number, seconds in enumerate((0.5, 0.8)):
        audio.append(torch.from_numpy(tone(seconds, seed=number)))
        path = tmp_path / f"u{number}.wav"
        soundfile.write(path, audio[-1].numpy(), 16000, subtype="FLOAT")
        utterances.append(Utterance(id=f"u{number}", path=path))
    return utterances, audio


def test_cached_front_ends_give_what_computing_them_gives(make_upstream, tmp_path, corpus):
    upstream = make_upstream()
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    where = UpstreamConfig(cache_dir=str(tmp_path / "cache"))
    for _ in range(2):  # computed, then found
        kept = keep_front_ends(encode, corpus[0], config=where)
    cached = kept.features(["u0", "u1"])
    for ours, theirs in zip(cached, encode(corpus[1]), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.requires_grad


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_front_ends_are_kept_in_the_precision_of_the_step(
    make_upstream, tmp_path, corpus, precision
):
    upstream = make_upstream()
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    where = UpstreamConfig(cache_dir=str(tmp_path / "cache"))
    kept = keep_front_ends(encode, corpus[0], config=where, precision=precision)
    enabled = precision is not torch.float32
    with torch.autocast("cpu", precision if enabled else None, enabled=enabled):
        cached = kept.features(["u0", "u1"])
        for ours, theirs in zip(cached, encode(corpus[1]), strict=True):
            assert torch.equal(ours, theirs)


def test_front_ends_that_exceed_the_limit_are_computed_every_time(make_upstream, tmp_path, tone):
    upstream = make_upstream()
    encode = make_encoder(upstream, featurizer_of(upstream), ON)
    soundfile.write(tmp_path / "u.wav", tone(0.5), 16000)
    small = UpstreamConfig(cache_dir=str(tmp_path / "cache"), cache_limit_gb=1e-9)
    utterance = Utterance(id="u", path=tmp_path / "u.wav")
    assert keep_front_ends(encode, [utterance], config=small) is None
