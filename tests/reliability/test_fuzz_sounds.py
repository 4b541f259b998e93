"""Whatever a sound file or an index of them holds: sound or a clear error."""

import contextlib
import io
import json

import numpy as np
import soundfile
from fuzzing import JSON, fuzz, mutated
from hypothesis import strategies as st

from spknorm.audio import AudioError, AudioIndex, iter_windows, load_audio, read_info
from spknorm.audio.faults import KINDS

SOUNDS = (
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "IMA_ADPCM")),
    *(("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("AU", "ULAW"), ("AU", "G721_32")),
    *(("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")),
    *(("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"), ("NIST", "ULAW")),
)
"""The containers that are accepted, in the encodings that people have."""


def sounds():
    noise = np.random.default_rng(0).normal(0, 0.1, 900)
    for form, subtype in SOUNDS:
        buffer = io.BytesIO()
        rate = 8000 if subtype == "GSM610" else 16000
        soundfile.write(buffer, noise, rate, format=form, subtype=subtype)
        yield buffer.getvalue()


@st.composite
def damaged(draw, content):
    """A sound file that is cut, or whose header, where the sizes are, has other bytes."""
    result = bytearray(content)
    kind = draw(st.sampled_from(("header", "cut", "tag", "both")))
    if kind != "cut":
        for _ in range(draw(st.integers(1, 4))):
            place = draw(st.integers(0, min(len(result), 120) - 1))
            size = draw(st.sampled_from((1, 2, 4, 8)))
            value = draw(st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)))
            piece = (value % 256**size).to_bytes(size, draw(st.sampled_from(("big", "little"))))
            result[place : place + size] = piece
    if kind == "tag":
        result[:0] = b"ID3\4\0\0" + draw(st.binary(min_size=4, max_size=40))
    if kind != "header":
        del result[draw(st.integers(0, len(result))) :]
    return bytes(result)


@fuzz(
    12_000,
    content=st.sampled_from(list(sounds())).flatmap(lambda valid: mutated(valid) | damaged(valid))
    | st.binary(max_size=200),
)
def test_a_sound_file_of_any_content(folder, content):
    path = folder / "a.wav"
    path.write_bytes(content)
    try:
        samples = load_audio(path)
    except AudioError as error:
        assert error.kind in KINDS
        return
    assert len(samples) >= 400
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    with contextlib.suppress(AudioError):  # the header may promise more MP3 than there is
        read_info(path)
    crop = load_audio(path, max_seconds=0.025, crop_seed=1)
    assert len(crop) == 400
    windows = list(iter_windows(path, window_seconds=0.03, hop_seconds=0.02))
    assert np.array_equal(windows[0].samples, samples[:480])


@fuzz(
    1_000,
    content=st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(
        lambda value: json.dumps({"schema": "spknorm.audio-index/1", "files": value}).encode()
    ),
)
def test_an_audio_index_of_any_content(folder, content):
    (folder / "audio-index.json").write_bytes(content)
    found = AudioIndex(folder).look_up([folder / "none.wav"]).errors[0]
    assert isinstance(found, AudioError)
