"""The world that is not ours: Whisper's weights out of CTranslate2's file, espeak-ng's voices."""

import itertools
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import independent_world
from independent import claims, flite, voices, whisper

from spknorm.controlled.rivals import RIVALS
from spknorm.controlled.rivals.grid import RivalRow
from spknorm.controlled.verdicts import judge
from spknorm.demo.synthesis import FloatArray
from spknorm.errors import CheckpointError, ConfigError
from spknorm.upstreams.hugging_face.upstream import TransformersUpstream

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="needs Debian's espeak-ng"
)

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs Debian's flite")
NOTHING = voices.Cues(0, 0, 0, 0)


def write_ctranslate2(path, variables, version=6):
    """Write variables as CTranslate2 does."""

    def string(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    kinds = {"float16": 4, "int16": 2}
    content = struct.pack("<I", version) + string("WhisperSpec")
    content += struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        content += string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        content += struct.pack("<BI", kinds[str(value.dtype)], value.nbytes) + value.tobytes()
    path.write_bytes(content + struct.pack("<I", 0))


def variables_of(model):
    """Return the encoder of transformers' WhisperModel under CTranslate2's names."""
    weights = {name: value.numpy() for name, value in model.encoder.state_dict().items()}
    found = {"encoder/position_encodings/encodings": weights["embed_positions.weight"]}
    leaves = {"weight": "gamma", "bias": "beta"}
    for name, value in weights.items():
        part, _, leaf = name.rpartition(".")
        if part in ("conv1", "conv2"):
            found[f"encoder/{part}/{leaf}"] = value
        elif part == "layer_norm":
            found[f"encoder/layer_norm/{leaves[leaf]}"] = value
    names = {
        "self_attn.out_proj": "self_attention/linear_1",
        "fc1": "ffn/linear_0",
        "fc2": "ffn/linear_1",
    }
    norms = {
        "self_attn_layer_norm": "self_attention/layer_norm",
        "final_layer_norm": "ffn/layer_norm",
    }
    for number in range(model.config.encoder_layers):
        theirs, ours = f"layers.{number}", f"encoder/layer_{number}"
        for leaf in ("weight", "bias"):
            for one, other in names.items():
                found[f"{ours}/{other}/{leaf}"] = weights[f"{theirs}.{one}.{leaf}"]
            for one, other in norms.items():
                found[f"{ours}/{other}/{leaves[leaf]}"] = weights[f"{theirs}.{one}.{leaf}"]
            query = weights[f"{theirs}.self_attn.q_proj.{leaf}"]
            key = weights.get(f"{theirs}.self_attn.k_proj.{leaf}", np.zeros_like(query))
            value = weights[f"{theirs}.self_attn.v_proj.{leaf}"]
            found[f"{ours}/self_attention/linear_0/{leaf}"] = np.concatenate([query, key, value])
    halves = {name: value.astype(np.float16) for name, value in found.items()}
    return {**halves, "encoder/num_heads": np.array(2, dtype=np.int16)}


@pytest.fixture
def tiny(tmp_path):
    """A Whisper of random weights, and its encoder as CTranslate2 would have written it."""
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(
        vocab_size=10,
        d_model=16,
        num_mel_bins=80,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=24,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    model = WhisperModel(config).half().float().eval()
    (tmp_path / "ct2").mkdir()
    write_ctranslate2(tmp_path / "ct2" / "model.bin", variables_of(model))
    return model, tmp_path / "ct2"


def test_the_encoder_out_of_ctranslate2s_file_is_the_one_that_went_in(tiny, tmp_path):
    model, source = tiny
    whisper.convert(source, tmp_path / "folder", seconds=30)
    upstream = TransformersUpstream(str(tmp_path / "folder")).eval()
    mels = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.encoder(mels).last_hidden_state
        found = upstream.model(mels).last_hidden_state
    assert torch.equal(found, expected)


def test_a_folder_of_two_seconds_hears_two_seconds_and_drops_the_padding(tiny, tmp_path):
    whisper.convert(tiny[1], tmp_path / "folder", seconds=2)
    upstream = TransformersUpstream(str(tmp_path / "folder")).eval()
    wave = torch.randn(24_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert upstream([wave])["last_hidden_state"].shape == (1, 75, 16)
    assert upstream.inputs.longest == 32_000


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda content: b"\7" + content[1:], r"is of version 7; version 6 is read here\."),
        (lambda content: content[:500], r"is no whole model of CTranslate2:"),
    ],
)
def test_a_file_of_another_kind_is_refused(tiny, spoil, text):
    path = tiny[1] / "model.bin"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CheckpointError, match=text):
        whisper.read_variables(path)


def test_a_folder_keeps_the_features_of_one_upstream(tmp_path):
    independent_world.claim_folder(tmp_path, "one", "espeak-ng")
    independent_world.claim_folder(tmp_path, "one", "espeak-ng")
    text = r"holds features of .*one, voices of espeak-ng: name another --folder\."
    for upstream, engine in (("other", "espeak-ng"), ("one", "flite")):
        with pytest.raises(ConfigError, match=text):
            independent_world.claim_folder(tmp_path, upstream, engine)


def rows_of(gains, *, seeds=8):
    """Return a model per method, corpus and rho whose accuracy is .6, less .2 at rho .9, + gain."""
    noise = np.random.default_rng(0)
    for (method, labels), rho, seed in itertools.product(gains, (0.9, 0.0), range(seeds)):
        unseen = 0.6 + rho * (gains[method, labels] - 0.2) / 0.9 + noise.normal(0, 0.002)
        leak = (0.3 if method == "snp" else 0.5) + noise.normal(0, 0.01)
        yield RivalRow(method, 0.0, labels, rho, seed, 0, {"0": unseen}, 0.5, leak, 1, 1.0)


def test_the_claims_are_judged_by_their_own_rows():
    gains = {("none", "true"): 0.0, ("gate", "true"): 0.0}
    gains |= {(name, "true"): 0.1 for name in claims.STRENGTHS}
    gains |= {(name, "shuffled"): -0.02 for name in claims.STRENGTHS}
    gains["adapted", "true"] = -0.1
    verdicts = {
        one.name: one.verdict for one in judge(claims.as_models(rows_of(gains)), claims.CLAIMS)
    }
    assert verdicts.pop("W4") == "refuted"
    assert set(verdicts.values()) == {"confirmed"} and len(verdicts) == 10


def test_the_strengths_are_candidates_of_the_rivals():
    assert all(strength in RIVALS[name].strengths for name, strength in claims.STRENGTHS.items())


@needs_espeak
def test_espeaks_voices_are_enough_and_no_two_are_the_same():
    names = voices.variants()
    assert len(set(names)) == len(names) >= 90
    engine = voices.ENGINES["espeak-ng"]
    cast = engine.cast_of(3)
    assert len(set(cast)) == 90 and cast != engine.cast_of(4)


@needs_espeak
def test_what_espeak_says_follows_the_cues():
    def said(**cues: float) -> FloatArray:
        return voices.speak("f3", voices.Cues(0, 0, 0, 0)._replace(**cues), voices.TEXTS[0])

    plain = said()
    assert 0.5 < len(plain) / 16_000 < 2
    assert len(said(rate=40.0)) < 0.85 * len(plain)
    loudness = np.sqrt(np.mean(said(loudness=6.0) ** 2) / np.mean(plain**2))
    assert loudness == pytest.approx(2.0, rel=0.05)
    for cue in ("pitch", "range"):
        other = said(**{cue: 50.0})
        length = min(len(other), len(plain))
        assert not np.allclose(other[:length], plain[:length], atol=0.01)


@needs_flite
def test_flites_speakers_are_a_hundred_and_no_two_are_the_same():
    said = {flite.speak(one, NOTHING, voices.TEXTS[0]).tobytes() for one in flite.speakers()}
    assert len(said) == len(flite.speakers()) == 100
    assert [one.name for one in flite.speakers()].count("rms") == 1


@needs_flite
@pytest.mark.parametrize("place", [1, 40, 70])
def test_what_flite_says_follows_the_cues(place):
    def said(**cues: float) -> FloatArray:
        return flite.speak(flite.speakers()[place], NOTHING._replace(**cues), voices.TEXTS[0])

    plain = said()
    assert 0.5 < len(plain) / 16_000 < 2
    assert len(said(rate=40.0)) < 0.85 * len(plain)
    assert np.allclose(said(loudness=6.0), plain * 10**0.3)
    pitch = [_pitch(said(range=-90.0, pitch=change)) for change in (-20.0, 0.0, 40.0)]
    assert pitch[0] < 0.9 * pitch[1] < 0.9 * 0.8 * pitch[2]
    other = said(range=80.0)
    assert len(other) != len(plain) or not np.allclose(other, plain, atol=0.01)


def _pitch(wave: FloatArray) -> float:
    """Return the median fundamental frequency, by autocorrelation, of the loud frames."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::256]
    frames = frames[frames.std(1) > frames.std(1).mean()] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames, 2048)) ** 2
    lags = np.fft.irfft(power)[:, 50:300]  # 53 to 320 Hz
    return float(np.median(16_000 / (50 + lags.argmax(1))))


@needs_flite
def test_rms_has_neither_pitch_nor_range_and_is_therefore_one_speaker():
    (rms,) = [one for one in flite.speakers() if one.name == "rms"]
    plain = flite.speak(rms, NOTHING, voices.TEXTS[0])
    for cue in ("pitch", "range"):
        other = flite.speak(rms, NOTHING._replace(**{cue: 30.0}), voices.TEXTS[0])
        assert np.array_equal(other, plain)


@pytest.mark.parametrize(
    "name",
    [pytest.param("espeak-ng", marks=needs_espeak), pytest.param("flite", marks=needs_flite)],
)
def test_a_row_of_a_corpus_sounds_the_same_whatever_else_is_spoken(name):
    engine = voices.ENGINES[name]
    whole = list(engine.emotional_waves(7, 1.0, range(3)))
    (one,) = engine.emotional_waves(7, 1.0, [2])
    assert np.array_equal(one, whole[2])
