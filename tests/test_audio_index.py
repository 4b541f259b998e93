"""Headers of audio files, and the index that remembers them."""

import errno
import io
import os

import numpy as np
import pytest
import soundfile
from test_audio import noise

from spknorm.audio import AudioIndex, AudioInfo, load_audio, read_info
from spknorm.files import sha256_of


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
    first = AudioIndex(tmp_path / "work").infos(paths).records.tolist()
    opened = []
    import spknorm.audio.index as module

    def counting(path):
        opened.append(path)
        return read_info(path)

    monkeypatch.setattr(module, "read_info", counting)
    assert AudioIndex(tmp_path / "work").infos(paths).records.tolist() == first
    assert opened == []
    soundfile.write(paths[2], noise(2), 16000)
    again = AudioIndex(tmp_path / "work").infos(paths)
    assert [one.path for one in opened] == [paths[2]]
    assert again.seconds.tolist() == [1, 1, 2, 1, 1]
    assert again.records[2] == AudioIndex(tmp_path / "work").infos(paths[2:3]).records[0]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"spknidx2" + b"\xff" * 8, b"spknidx2" * 400]
)
def test_a_damaged_index_is_made_anew(tmp_path, content, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    (tmp_path / "audio-index.bin").write_bytes(content)
    for _ in range(2):
        assert AudioIndex(tmp_path).infos([tmp_path / "a.wav"]).seconds[0] == 1
    monkeypatch.setattr("spknorm.audio.index.read_info", None)
    assert AudioIndex(tmp_path).infos([tmp_path / "a.wav"]).seconds[0] == 1


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
    assert len(first.infos(paths).records) == len(second.infos(paths).records) == 4


def test_an_index_that_is_mostly_superseded_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("spknorm.audio.ledger._SPARE", 4)
    path = tmp_path / "a.wav"
    other = AudioIndex(tmp_path)
    for number in range(12):
        soundfile.write(path, noise(1 + number), 16000)
        assert AudioIndex(tmp_path).infos([path]).seconds[0] == 1 + number
        assert other.infos([path]).seconds[0] == 1 + number
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
    assert index.infos(paths[::2]).seconds[0] == 1


def test_an_index_that_cannot_be_written_is_done_without(tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    (tmp_path / "file").write_text("")
    index = AudioIndex(tmp_path / "file" / "below")
    assert index.infos([tmp_path / "a.wav"]).seconds[0] == 1
    assert index.infos([tmp_path / "a.wav"]).seconds[0] == 1
    assert sum("cannot be written" in text for text in caplog.messages) == 1


def test_too_few_open_files_are_no_fault_of_the_recording(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        load_audio(tmp_path / "a.wav")
