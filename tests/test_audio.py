"""Decoding, downmixing, resampling, crops and windows; bad files are in reliability/."""

import random
import time
import tracemalloc

import numpy as np
import pytest
import soundfile

from spknorm.audio import (
    iter_windows,
    load_audio,
)
from spknorm.errors import ConfigError

RATES = (4000, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000)
WAV_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


def noise(seconds, rate=16000, channels=1, seed=0):
    shape = (int(seconds * rate), channels)
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def sine(frequency, seconds, rate):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate) * 0.5


@pytest.mark.parametrize("subtype", WAV_SUBTYPES)
def test_a_16_khz_mono_file_comes_as_soundfile_reads_it(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", noise(1), 16000, subtype=subtype)
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    found = load_audio(tmp_path / "a.wav")
    assert found.dtype == np.float32
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_are_averaged(tmp_path, channels):
    samples = noise(0.5, channels=channels)
    soundfile.write(tmp_path / "a.flac", samples, 16000, subtype="PCM_24")
    found = load_audio(tmp_path / "a.flac")
    assert found.shape == (8000,)
    np.testing.assert_allclose(found, samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_pitch_and_level_survive_a_change_of_rate(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", sine(700, 1.0, rate), rate, subtype="FLOAT")
    found = load_audio(tmp_path / "a.wav")
    assert found.shape == (16000,)
    inner = slice(1000, -1000)
    np.testing.assert_allclose(found[inner], sine(700, 1.0, 16000)[inner], atol=2e-3)


def test_what_lies_above_8_khz_does_not_fold_back(tmp_path):
    for frequency in (9000, 12000, 20000):
        soundfile.write(tmp_path / "a.wav", sine(frequency, 1.0, 48000), 48000, subtype="FLOAT")
        assert np.abs(load_audio(tmp_path / "a.wav")[1000:-1000]).max() < 1e-4


def test_files_of_different_rates_are_each_played_at_their_own(tmp_path):
    for rate in (8000, 16000, 44100):
        soundfile.write(tmp_path / f"{rate}.wav", sine(440, 2.0, rate), rate)
    assert {len(load_audio(path)) for path in tmp_path.iterdir()} == {32000}


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("wav", {"format": "WAVEX"}),
        ("wav", {"format": "RF64"}),
        ("wav", {"endian": "BIG"}),
        ("aiff", {}),
        ("flac", {}),
        ("ogg", {}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("mp3", {}),
        ("w64", {}),
        ("au", {}),
    ],
)
def test_every_container_is_decoded_and_its_crops_are_parts_of_the_whole(tmp_path, ending, options):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, sine(440, 3.0, 16000), 16000, **options)
    whole = load_audio(path)
    assert abs(len(whole) - 48000) <= 2304
    assert np.abs(whole[4000:44000]).max() == pytest.approx(0.5, abs=0.05)
    for seed in range(5):
        crop = load_audio(path, max_seconds=0.5, crop_seed=seed)
        assert np.array_equal(crop, cut(whole, 8000, seed))


def test_the_name_of_a_file_does_not_matter(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(1), 16000)
    for name in ("a.wav", "a.raw", "a", "a.mp3"):
        (tmp_path / name).write_bytes((tmp_path / "a.flac").read_bytes())
        assert np.array_equal(load_audio(tmp_path / name), load_audio(tmp_path / "a.flac"))


def cut(whole, count, seed):
    start = int(random.Random(seed).random() * (len(whole) - count + 1))
    return whole[start : start + count]


@pytest.mark.parametrize("rate", RATES)
def test_a_crop_is_a_part_of_the_whole_bit_for_bit(tmp_path, rate):
    soundfile.write(tmp_path / "a.flac", noise(3.01, min(rate, 96000)), min(rate, 96000))
    whole = load_audio(tmp_path / "a.flac")
    for seed in range(10):
        crop = load_audio(tmp_path / "a.flac", max_seconds=1.0, crop_seed=seed)
        assert crop.shape == (16000,)
        assert crop.tobytes() == cut(whole, 16000, seed).tobytes()


def test_crops_are_set_by_the_seed_and_cover_the_file(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.arange(32000) / 64000, 16000, subtype="FLOAT")
    starts = [round(load_audio(path, max_seconds=1, crop_seed=s)[0] * 64000) for s in range(300)]
    again = [round(load_audio(path, max_seconds=1, crop_seed=s)[0] * 64000) for s in range(300)]
    assert starts == again
    assert min(starts) < 500
    assert max(starts) > 15500
    assert 7000 < np.mean(starts) < 9000


def test_without_a_seed_the_beginning_is_taken_and_short_files_come_whole(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    whole = load_audio(tmp_path / "a.wav")
    assert np.array_equal(load_audio(tmp_path / "a.wav", max_seconds=0.25), whole[:4000])
    assert np.array_equal(load_audio(tmp_path / "a.wav", max_seconds=1, crop_seed=1), whole)
    assert np.array_equal(load_audio(tmp_path / "a.wav", max_seconds=9, crop_seed=1), whole)


def test_a_crop_shorter_than_one_frame_is_refused(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_audio(tmp_path / "a.wav", max_seconds=0.01)
    assert str(error.value) == "`max_seconds` must be at least 0.025, but is 0.01."


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("window", "hop"), [(1, 1), (1, 0.5), (2, 0.3), (0.5, 1.7), (60, 1)])
def test_windows_are_parts_of_the_whole_bit_for_bit(tmp_path, rate, window, hop):
    soundfile.write(tmp_path / "a.wav", noise(4.03, rate), rate)
    whole = load_audio(tmp_path / "a.wav")
    windows = list(iter_windows(tmp_path / "a.wav", window_seconds=window, hop_seconds=hop))
    for number, (start, samples) in enumerate(windows):
        begin = round(start * 16000)
        assert begin == number * round(hop * 16000)
        assert samples.tobytes() == whole[begin : begin + window_length(window)].tobytes()
        assert len(samples) >= 400
    last = round(windows[-1].start_second * 16000) + len(windows[-1].samples)
    assert last > len(whole) - 400 - max(0, round((hop - window) * 16000))


def window_length(seconds):
    return round(seconds * 16000)


def test_windows_of_compressed_files_are_parts_of_the_whole(tmp_path):
    for ending in ("mp3", "ogg"):
        path = tmp_path / f"a.{ending}"
        soundfile.write(path, noise(5, 44100), 44100)
        whole = load_audio(path)
        for start, samples in iter_windows(path, window_seconds=1, hop_seconds=0.4):
            begin = round(start * 16000)
            assert np.array_equal(samples, whole[begin : begin + 16000])


def test_windows_need_a_length_and_a_hop(tmp_path):
    with pytest.raises(ConfigError) as error:
        list(iter_windows(tmp_path / "a.wav", window_seconds=1, hop_seconds=0))
    assert str(error.value) == (
        "`window_seconds` must be at least 0.025 and `hop_seconds` positive, but they are 1 and 0."
    )


def test_windows_and_crops_take_memory_that_the_length_does_not_change(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 44100, 1) as file:
        for minute in range(20):
            file.write(noise(60, 44100, seed=minute % 3)[:, 0])
    load_audio(tmp_path / "long.wav", max_seconds=1)
    tracemalloc.start()
    windows = iter_windows(tmp_path / "long.wav", window_seconds=5, hop_seconds=60)
    assert sum(1 for _ in windows) == 20
    load_audio(tmp_path / "long.wav", max_seconds=4, crop_seed=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # the whole file is 212 MB as float32


def test_a_crop_does_not_decode_the_file(tmp_path):
    walk = np.cumsum(noise(60)[:, 0])
    soundfile.write(tmp_path / "a.flac", walk / np.abs(walk).max(), 16000)
    whole, crop = [], []
    for seed in range(15):
        whole.append(timed(lambda: load_audio(tmp_path / "a.flac")))
        crop.append(timed(lambda: load_audio(tmp_path / "a.flac", max_seconds=4, crop_seed=seed)))  # noqa: B023
    assert np.median(whole) / np.median(crop) > 4  # measured 8.9 on a quiet machine


def timed(action):
    start = time.process_time()  # of this process alone: the machine may be busy
    action()
    return time.process_time() - start
