"""A small upstream and corpus whose features are kept."""

import pytest
import soundfile
import tiny_upstreams
import torch

from spknorm.corpora.records import Utterance
from spknorm.features.reader import upstream_reader
from spknorm.features.reading import Reading
from spknorm.schema import UpstreamConfig


def pooled_features(
    upstream, utterances, *, config, selection="hidden_states", max_seconds=None, device="cpu"
):
    """Return each utterance's mean over time of each layer, (N, L, H), cached as `config` says."""
    rate = upstream.get_downsample_rates(selection)
    reading = Reading(selection, None, normalize=False, rate=rate, pooled=True)
    reader = upstream_reader(upstream, reading, config=config, device=device)
    keys = reader.fill(utterances, max_seconds=max_seconds)
    return reader.read(utterances, keys, max_seconds=max_seconds)


@pytest.fixture
def upstream(tiny_hubert):
    from s3prl.upstream.hubert.expert import UpstreamExpert

    return Counting(UpstreamExpert(str(tiny_hubert))).eval()


class Counting(torch.nn.Module):
    """Counts the utterances that pass through an upstream."""

    def __init__(self, upstream):
        super().__init__()
        self.upstream = upstream
        self._passes = 0

    @property
    def passes(self):
        return self._passes

    def get_downsample_rates(self, key):
        return self.upstream.get_downsample_rates(key)

    def forward(self, wavs):
        self._passes += len(wavs)
        return self.upstream(wavs)


@pytest.fixture
def corpus(tmp_path, tone):
    utterances = []
    for number, seconds in enumerate((0.5, 0.9, 0.5, 1.3)):
        path = tmp_path / "audio" / f"u{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(seconds, pitch=150 + 40 * number, seed=number), 16000)
        utterances.append(Utterance(id=f"u{number}", path=path, emotion="neu"))
    return utterances


@pytest.fixture
def where(tmp_path):
    return UpstreamConfig(cache_dir=str(tmp_path / "cache"))


def featurizer_of(upstream, selection="hidden_states", **options):
    return tiny_upstreams.featurizer_of(upstream, selection, **options)
