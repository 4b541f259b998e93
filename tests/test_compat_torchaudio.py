import importlib

import numpy as np
import pytest
import soundfile
import torch

from spknorm.compat import torch_and_torchaudio

torchaudio = importlib.import_module("torchaudio")  # not before compat


def test_load_returns_channels_first_floats_and_the_rate(tmp_path):
    wave = np.stack([np.linspace(-0.5, 0.5, 800), np.zeros(800)], axis=1)
    soundfile.write(tmp_path / "a b.flac", wave, 8000)
    samples, rate = torch_and_torchaudio.load(tmp_path / "a b.flac")
    assert (samples.shape, samples.dtype, rate) == ((2, 800), torch.float32, 8000)
    assert np.allclose(samples.numpy().T, wave, atol=1e-4)
    last, _ = torch_and_torchaudio.load(str(tmp_path / "a b.flac"), channels_first=False)
    assert last.shape == (800, 2)


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [(0, -1, 800), (100, -1, 700), (100, 50, 50), (790, 50, 10), (900, -1, 0)],
)
def test_load_reads_a_part_of_a_file(tmp_path, offset, count, expected):
    wave = np.arange(800, dtype=np.float32) / 1000
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    samples, _ = torch_and_torchaudio.load(tmp_path / "a.wav", offset, count)
    assert samples.shape == (1, expected)
    assert np.array_equal(samples[0].numpy(), wave[offset : offset + expected])


def test_load_and_info_take_open_files(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(160), 16000)
    with (tmp_path / "a.wav").open("rb") as file:
        assert torch_and_torchaudio.load(file)[0].shape == (1, 160)
    with (tmp_path / "a.wav").open("rb") as file:
        assert torch_and_torchaudio.info(file).num_frames == 160


def test_load_of_something_else_is_a_runtime_error(tmp_path):
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(RuntimeError, match="Error opening"):
        torch_and_torchaudio.load(tmp_path / "a.wav")


def test_info_reads_the_header(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((160, 3)), 8000, subtype="PCM_24")
    assert torch_and_torchaudio.info(tmp_path / "a.wav") == (8000, 160, 3, 24, "PCM_24")


def test_sox_effects_say_what_is_missing():
    with pytest.raises(NotImplementedError, match="apply_effects_file is gone from torchaudio"):
        torchaudio.sox_effects.apply_effects_file("a.wav", [])
    from torchaudio.sox_effects import apply_effects_tensor

    with pytest.raises(NotImplementedError, match=r"Install torchaudio<2\.9"):
        apply_effects_tensor()


def test_the_audio_back_end_can_be_set_and_named():
    torchaudio.set_audio_backend("sox_io")
    assert torchaudio.get_audio_backend() == "soundfile"
