"""Decoding, downmixing, resampling, crops and windows; bad files are in reliability/."""

import errno
import io
import os
import random
import time
import tracemalloc

import numpy as np
import pytest
import soundfile

from spknorm.audio import (
    AudioIndex,
    AudioInfo,
    iter_windows,
    load_audio,
    read_info,
)
from spknorm.errors import ConfigError
from spknorm.files import sha256_of

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


def test_headers_tell_length_rate_and_channels(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(1.5, 44100, 2), 44100)
    assert read_info(tmp_path / "a.flac") == AudioInfo(66150, 44100, 2, 1.5)


def test_streamed_headers_without_a_length_are_read_to_the_end(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(2), 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # STREAMINFO: total samples unknown
    (tmp_path / "streamed.flac").write_bytes(content)
    assert read_info(tmp_path / "streamed.flac").num_samples == 32000
    assert np.array_equal(load_audio(tmp_path / "streamed.flac"), load_audio(tmp_path / "a.flac"))
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(1), 16000, format="WAV")
    content = bytearray(buffer.getvalue())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"  # as a WAV written to a pipe
    (tmp_path / "streamed.wav").write_bytes(content)
    assert load_audio(tmp_path / "streamed.wav").shape == (16000,)


def test_an_index_opens_each_file_once_and_notices_changes(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for path in paths:
        soundfile.write(path, noise(1), 16000)
    first = list(AudioIndex(tmp_path / "work").infos(paths))
    opened = []
    import spknorm.audio.index as module

    def counting(path):
        opened.append(path)
        return read_info(path)

    monkeypatch.setattr(module, "read_info", counting)
    assert list(AudioIndex(tmp_path / "work").infos(paths)) == first
    assert opened == []
    soundfile.write(paths[2], noise(2), 16000)
    again = AudioIndex(tmp_path / "work").infos(paths)
    assert [one.path for one in opened] == [paths[2]]
    assert [info.seconds for info in again] == [1, 1, 2, 1, 1]
    assert again[2] == AudioIndex(tmp_path / "work").infos(paths[2:3])[0]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"spknidx2" + b"\xff" * 8, b"spknidx2" * 400]
)
def test_a_damaged_index_is_made_anew(tmp_path, content, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    (tmp_path / "audio-index.bin").write_bytes(content)
    for _ in range(2):
        assert AudioIndex(tmp_path).infos([tmp_path / "a.wav"])[0].seconds == 1
    monkeypatch.setattr("spknorm.audio.index.read_info", None)
    assert AudioIndex(tmp_path).infos([tmp_path / "a.wav"])[0].seconds == 1


@pytest.mark.parametrize("cut", [1, 20, 90])
def test_what_a_kill_left_of_an_index_is_cut_off_and_the_rest_stands(tmp_path, cut, monkeypatch):
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path in paths:
        soundfile.write(path, noise(1), 16000)
        AudioIndex(tmp_path).infos([path])
    file = tmp_path / "audio-index.bin"
    file.write_bytes(file.read_bytes()[:-cut])
    examined = []
    monkeypatch.setattr(
        "spknorm.audio.index.read_info", lambda sound: examined.append(sound) or read_info(sound)
    )
    AudioIndex(tmp_path).infos(paths)
    assert [one.path for one in examined] == paths[2:]
    AudioIndex(tmp_path).infos(paths)
    assert len(examined) == 1


def test_processes_share_an_index_and_learn_what_others_append(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.wav" for number in range(4)]
    for path in paths:
        soundfile.write(path, noise(1), 16000)
    first, second = AudioIndex(tmp_path), AudioIndex(tmp_path)
    first.infos(paths[:2])
    second.infos(paths[2:])
    monkeypatch.setattr("spknorm.audio.index.read_info", None)
    assert len(first.infos(paths)) == len(second.infos(paths)) == 4


def test_an_index_that_is_mostly_superseded_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("spknorm.audio.ledger._SPARE", 4)
    path = tmp_path / "a.wav"
    other = AudioIndex(tmp_path)
    for number in range(12):
        soundfile.write(path, noise(1 + number), 16000)
        assert AudioIndex(tmp_path).infos([path])[0].seconds == 1 + number
        assert other.infos([path])[0].seconds == 1 + number
    assert (tmp_path / "audio-index.bin").stat().st_size < 8 * 100


def test_hashes_are_remembered_beside_headers_and_forgotten_with_the_content(tmp_path, monkeypatch):
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path in paths:
        soundfile.write(path, noise(1), 16000)
    index = AudioIndex(tmp_path)
    assert index.unknown_bytes(paths) == sum(path.stat().st_size for path in paths)
    expected = [sha256_of(path) for path in paths]
    assert index.hashes(paths) == expected
    index.look_up(paths, decode=True)
    read = []
    monkeypatch.setattr(
        "spknorm.audio.index.sha256_of", lambda path: read.append(path) or sha256_of(path)
    )
    assert AudioIndex(tmp_path).hashes(paths) == expected
    assert index.unknown_bytes(paths) == 0
    soundfile.write(paths[1], noise(2), 16000)
    assert AudioIndex(tmp_path).hashes(paths)[1] == sha256_of(paths[1]) != expected[1]
    assert read == [paths[1]]
    monkeypatch.setattr("spknorm.audio.index.read_info", None)
    assert index.infos(paths[::2])[0].seconds == 1


def test_an_index_that_cannot_be_written_is_done_without(tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    (tmp_path / "file").write_text("")
    index = AudioIndex(tmp_path / "file" / "below")
    assert index.infos([tmp_path / "a.wav"])[0].seconds == 1
    assert index.infos([tmp_path / "a.wav"])[0].seconds == 1
    assert sum("cannot be written" in text for text in caplog.messages) == 1


def test_too_few_open_files_are_no_fault_of_the_recording(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        load_audio(tmp_path / "a.wav")
