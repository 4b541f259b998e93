import importlib
import io

import numpy as np
import pytest
import soundfile
import torch

from spknorm.compat import audio_files

torchaudio = importlib.import_module("torchaudio")  # not before compat


def test_load_returns_channels_first_floats_and_the_rate(tmp_path):
    wave = np.stack([np.linspace(-0.5, 0.5, 800), np.zeros(800)], axis=1)
    soundfile.write(tmp_path / "a b.flac", wave, 8000)
    samples, rate = audio_files.load(tmp_path / "a b.flac")
    assert (samples.shape, samples.dtype, rate) == ((2, 800), torch.float32, 8000)
    assert np.allclose(samples.numpy().T, wave, atol=1e-4)
    last, _ = audio_files.load(str(tmp_path / "a b.flac"), channels_first=False)
    assert last.shape == (800, 2)


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [(0, -1, 800), (100, -1, 700), (100, 50, 50), (790, 50, 10), (900, -1, 0)],
)
def test_load_reads_a_part_of_a_file(tmp_path, offset, count, expected):
    wave = np.arange(800, dtype=np.float32) / 1000
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    samples, _ = audio_files.load(tmp_path / "a.wav", offset, count)
    assert samples.shape == (1, expected)
    assert np.array_equal(samples[0].numpy(), wave[offset : offset + expected])


def test_load_and_info_take_open_files(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(160), 16000)
    with (tmp_path / "a.wav").open("rb") as file:
        assert audio_files.load(file)[0].shape == (1, 160)
    with (tmp_path / "a.wav").open("rb") as file:
        assert audio_files.info(file).num_frames == 160


def test_load_of_something_else_is_a_runtime_error(tmp_path):
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(RuntimeError, match="Error opening"):
        audio_files.load(tmp_path / "a.wav")


def test_info_reads_the_header(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((160, 3)), 8000, subtype="PCM_24")
    assert audio_files.info(tmp_path / "a.wav") == (8000, 160, 3, 24, "PCM_24")


def test_sox_effects_that_need_no_sox_are_there(tmp_path):
    wave = torch.stack([torch.full((8000,), 0.5), torch.zeros(8000)])
    torchaudio.save(tmp_path / "a.wav", wave, 8000)
    effects = [["channels", "1"], ["rate", "16000"], ["gain", "-6.0"]]
    from_file, rate = torchaudio.sox_effects.apply_effects_file(str(tmp_path / "a.wav"), effects)
    assert (from_file.shape, rate) == ((1, 16000), 16000)
    assert from_file[0, 8000] == pytest.approx(0.25 * 10 ** (-6 / 20), rel=1e-3)
    from_tensor, _ = torchaudio.sox_effects.apply_effects_tensor(wave, 8000, effects)
    assert torch.equal(from_tensor, from_file)


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (["norm"], [[0.5, -1.0]]),
        (["norm", "-20"], [[0.05, -0.1]]),
        (["reverse"], [[-0.5, 0.25]]),
        (["pad", "0.5", "1"], [[0.0, 0.25, -0.5, 0.0, 0.0]]),
        (["channels", "2"], [[0.25, -0.5], [0.25, -0.5]]),
        (["gain", "20"], [[1.0, -1.0]]),
    ],
)
def test_each_effect_is_sox_s(effect, expected):
    wave = torch.tensor([[0.25, -0.5]])
    changed, rate = torchaudio.sox_effects.apply_effects_tensor(wave, 2, [effect])
    torch.testing.assert_close(changed, torch.tensor(expected))
    assert rate == 2


def test_an_effect_that_is_sox_s_own_is_refused_by_name():
    from torchaudio.sox_effects import apply_effects_tensor

    with pytest.raises(NotImplementedError, match=r"`silence` is not among .*torchaudio<2\.9"):
        apply_effects_tensor(torch.zeros(1, 9), 16000, [["silence", "1", "0.1", "0.1%"]])


def test_s3prl_s_audio_headers_are_read_with_what_was_put_back(tmp_path):
    from s3prl.util.audio_info import get_audio_info

    torchaudio.save(tmp_path / "a.wav", torch.zeros(2, 160), 8000)
    [header] = get_audio_info([str(tmp_path / "a.wav")], ["a"], cache_dir=str(tmp_path / "cache"))
    assert (header["num_frames"], header["sample_rate"], header["num_channels"]) == (160, 8000, 2)


def test_the_audio_back_end_can_be_set_and_named():
    torchaudio.set_audio_backend("sox_io")
    assert torchaudio.get_audio_backend() == "soundfile"


# Saving


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize(
    ("dtype", "subtype"),
    [
        (torch.float32, "FLOAT"),
        (torch.float64, "DOUBLE"),
        (torch.int16, "PCM_16"),
        (torch.int32, "PCM_32"),
        (torch.uint8, "PCM_U8"),
    ],
)
def test_a_saved_wav_holds_the_samples_in_their_own_type(dtype, subtype, channels_first, tmp_path):
    wave = torch.linspace(-0.5, 0.5, 64).reshape(2, 32)
    if dtype == torch.uint8:
        wave = ((wave + 0.5) * 255).to(dtype)
    elif not dtype.is_floating_point:
        wave = (wave * 2**14).to(dtype)
    wave = wave.to(dtype)
    torchaudio.save(
        tmp_path / "a.wav", wave if channels_first else wave.T, 8000, channels_first=channels_first
    )
    assert soundfile.info(tmp_path / "a.wav").subtype == subtype
    samples, rate = torchaudio.load(tmp_path / "a.wav")
    assert (samples.shape, rate) == ((2, 32), 8000)
    scale = {torch.int16: 2**15, torch.int32: 2**31, torch.uint8: 128}.get(dtype, 1)
    expected = wave.double() / scale - (1 if dtype == torch.uint8 else 0)
    torch.testing.assert_close(samples.double(), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "subtype"),
    [
        ({"encoding": "PCM_S"}, "PCM_32"),
        ({"encoding": "PCM_S", "bits_per_sample": 16}, "PCM_16"),
        ({"bits_per_sample": 24}, "PCM_24"),
        ({"bits_per_sample": 8}, "PCM_U8"),
        ({"encoding": "PCM_F", "bits_per_sample": 64}, "DOUBLE"),
        ({"encoding": "ULAW"}, "ULAW"),
        ({"encoding": "ALAW", "bits_per_sample": 8}, "ALAW"),
        ({"format": "flac"}, "PCM_16"),
        ({"format": "flac", "bits_per_sample": 24}, "PCM_24"),
        ({"format": "ogg"}, "VORBIS"),
        ({"format": "vorbis"}, "VORBIS"),
    ],
)
def test_encoding_bits_and_format_are_those_asked_for(options, subtype, tmp_path):
    wave = torch.zeros(1, 1600, requires_grad=True)
    torchaudio.save(str(tmp_path / "a.wav"), wave, 16000, **options)
    assert soundfile.info(tmp_path / "a.wav").subtype == subtype


def test_samples_are_saved_into_an_open_file_of_a_named_format():
    file = io.BytesIO()
    torchaudio.save(file, torch.zeros(1, 160), 16000, format="wav")
    file.seek(0)
    assert torchaudio.load(file)[0].shape == (1, 160)
    with pytest.raises(RuntimeError, match="`format` is required for a file object"):
        torchaudio.save(io.BytesIO(), torch.zeros(1, 160), 16000)


@pytest.mark.parametrize(
    ("samples", "options", "error"),
    [
        (torch.zeros(160), {}, "Expected 2D Tensor, got 1D"),
        (torch.zeros(1, 160).half(), {}, "torch.float16 cannot be saved: convert to float32"),
        (torch.zeros(1, 160), {"encoding": "PCM_S", "bits_per_sample": 8}, "No wav file has PCM_S"),
        (torch.zeros(1, 160), {"encoding": "MP3"}, "No wav file has MP3 with 0 bits"),
        (torch.zeros(1, 160), {"format": "flac", "encoding": "PCM_S"}, "flac has no `encoding`"),
        (torch.zeros(1, 160), {"format": "ogg", "bits_per_sample": 16}, "ogg has neither"),
    ],
)
def test_what_no_file_can_hold_is_refused_and_nothing_written(samples, options, error, tmp_path):
    with pytest.raises((ValueError, RuntimeError), match=error):
        torchaudio.save(tmp_path / "a.wav", samples, 16000, **options)
    assert list(tmp_path.iterdir()) == []


def test_s3prl_s_pseudo_audio_is_what_it_says():
    from s3prl.util.pseudo_data import pseudo_audio

    with pseudo_audio([0.5, 0.25]) as (paths, lengths):
        infos = [torchaudio.info(path) for path in paths]
    assert [info.num_frames for info in infos] == lengths == [8000, 4000]
