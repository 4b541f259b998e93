"""The independent verifier on planted features: what they tell of a speaker is known."""

import sys

import numpy as np
import pytest

from spknorm.demo.population import speak_neutral
from spknorm.errors import ConfigError, DataError
from spknorm.probe.verifier import DIM, judge_features, judge_recordings, load_verifier

SPEAKERS, EACH = 40, 8


@pytest.fixture
def spoken():
    """D-vectors around a place of each speaker's, and who speaks."""
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(SPEAKERS), EACH)
    places = random.standard_normal((SPEAKERS, 6))
    latent = places[who] + 0.3 * random.standard_normal((len(who), 6))
    heard = np.abs(latent @ random.standard_normal((6, DIM)) + 3)
    return latent, heard / np.linalg.norm(heard, axis=1, keepdims=True), who


def test_features_that_hold_the_speaker_tell_what_the_verifier_hears(spoken):
    latent, heard, who = spoken
    recordings = judge_recordings(heard, who, control=None, seed=0)
    features = latent @ np.random.default_rng(1).standard_normal((6, 12))
    found = judge_features(features, heard, who, control=None, seed=0)
    assert recordings.score < 0.1 and found.score < 0.12
    assert found.low < found.score < found.high


def test_features_without_the_speaker_tell_nothing(spoken):
    _, heard, who = spoken
    noise = np.random.default_rng(1).standard_normal((len(who), 12))
    found = judge_features(noise, heard, who, control=None, seed=0)
    assert found.score == pytest.approx(0.5, abs=0.06)


def test_the_more_of_the_speaker_is_erased_the_less_is_told(spoken):
    latent, heard, who = spoken
    noise = np.random.default_rng(1).standard_normal(latent.shape)
    rates = []
    for kept in (6, 3, 1, 0):
        features = np.concatenate([latent[:, :kept], noise[:, kept:]], axis=1)
        rates.append(judge_features(features, heard, who, control=None, seed=0).score)
    assert rates == sorted(rates)
    assert rates[-1] - rates[0] > 0.3


@pytest.mark.parametrize("judge", ["recordings", "features"])
def test_the_control_is_at_chance(spoken, judge):
    latent, heard, who = spoken
    rates = [
        (
            judge_recordings(heard, who, control="shuffled", seed=seed)
            if judge == "recordings"
            else judge_features(latent, heard, who, control="shuffled", seed=seed)
        ).score
        for seed in range(5)
    ]
    assert np.mean(rates) == pytest.approx(0.5, abs=0.05)


def test_what_identifies_known_speakers_alone_is_not_taken_for_the_voice(spoken):
    """A code by which speakers are named, but which says nothing of how they sound."""
    _, heard, who = spoken
    code = np.random.default_rng(1).standard_normal((SPEAKERS, 30))[who]
    found = judge_features(code, heard, who, control=None, seed=0)
    assert found.score == pytest.approx(0.5, abs=0.1)


def test_two_speakers_are_judged_without_an_interval(spoken):
    latent, heard, who = spoken
    two = who < 2
    found = judge_features(latent[two], heard[two], who[two], control=None, seed=0)
    assert 0 <= found.score <= 1 and found.low is None


def test_one_speaker_cannot_be_verified(spoken):
    latent, heard, who = spoken
    one = who < 1
    with pytest.raises(DataError, match=r"^Verification needs two speakers"):
        judge_features(latent[one], heard[one], who[one], control=None, seed=0)


def test_without_the_extra_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    with pytest.raises(ConfigError) as error:
        load_verifier()
    assert str(error.value) == (
        "The independent verifier needs Resemblyzer (import of resemblyzer halted; None in "
        "sys.modules): pip install 'spknorm[verifier]' && pip install --no-deps resemblyzer"
    )


@pytest.fixture(scope="module")
def hears():
    pytest.importorskip("resemblyzer", reason="needs: pip install --no-deps resemblyzer")
    return load_verifier()


def test_a_voice_is_heard_wherever_it_stands_and_however_short(hears):
    wave = speak_neutral(0, 3, 1).astype(np.float32)
    whole = hears(wave)
    assert whole.shape == (DIM,) and np.linalg.norm(whole) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(hears(wave), whole)
    for part in (wave[: len(wave) // 4], np.concatenate([np.zeros(8000, np.float32), wave])):
        assert np.linalg.norm(hears(part)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("samples", [1, 400, 480, 16_000])
def test_of_silence_there_is_no_voice_and_no_nan(hears, samples):
    quiet = 1e-7 * np.random.default_rng(0).standard_normal(samples)
    for wave in (np.zeros(samples, np.float32), quiet.astype(np.float32)):
        assert np.isfinite(hears(wave)).all()
    assert not hears(np.zeros(samples, np.float32)).any()
    assert not hears(np.full(min(samples, 400), 0.1, np.float32)).any()
