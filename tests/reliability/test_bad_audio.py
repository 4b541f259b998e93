"""Audio that cannot be used: each fault is made in a real file, has one kind and one message."""

import os
import pickle
import struct

import numpy as np
import pytest
import soundfile

from spknorm.audio import AudioError, iter_windows, load_audio, read_info
from spknorm.audio.faults import KINDS, printable
from spknorm.corpora.checks import find_bad_audio
from spknorm.corpora.records import Utterance

SHORTEST = "Expected at least 400 samples at 16 kHz"


def noise(count, channels=1):
    return np.random.default_rng(0).normal(0, 0.1, (count, channels)).astype(np.float32)


def refused(path, kind, said, *, by=load_audio):
    with pytest.raises(AudioError) as error:
        by(path)
    assert error.value.kind == kind
    assert error.value.path == path
    assert error.value.exit_code == 3
    assert str(error.value).startswith(f"{printable(path)}: ")
    assert said in str(error.value)
    str(error.value).encode()  # can be printed
    assert "\n" not in str(error.value).replace(str(path), "")
    return str(error.value)


def cut(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])


@pytest.mark.fault("audio")
def test_a_file_that_is_not_there(tmp_path):
    said = refused(tmp_path / "a.wav", "missing", "there is no such file")
    assert said == (
        f"{tmp_path / 'a.wav'}: there is no such file. Expected audio; check the root of the "
        "corpus and that it is complete."
    )
    (tmp_path / "b.wav").write_bytes(b"")
    refused(tmp_path / "b.wav/a.wav", "missing", "there is no such file")
    (tmp_path / "dangling.wav").symlink_to("none.wav")
    refused(tmp_path / "dangling.wav", "missing", "there is no such file")


@pytest.mark.fault("audio")
def test_a_file_that_vanishes_between_listing_and_reading(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1600), 16000)
    listed = list(tmp_path.iterdir())
    listed[0].unlink()
    refused(listed[0], "missing", "there is no such file")


@pytest.mark.fault("audio")
def test_a_file_that_vanishes_while_it_is_read_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(32000), 16000)
    whole = load_audio(tmp_path / "a.wav")
    windows = iter_windows(tmp_path / "a.wav", window_seconds=1, hop_seconds=1)
    first = next(windows)
    (tmp_path / "a.wav").unlink()
    assert np.array_equal(np.concatenate([first.samples, next(windows).samples]), whole)


@pytest.mark.fault("audio")
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1600), 16000)
    if os.geteuid() == 0:  # to whom permissions do not apply: the system's refusal is put in

        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("spknorm.audio.opening.os.open", refuse)
    else:
        path.chmod(0)
    refused(path, "permission", "the file cannot be opened (Permission denied)")


@pytest.mark.parametrize(
    "name", ["x" * 256 + ".wav", "a\0.wav", "a\ud800.wav"], ids=["256 bytes", "NUL", "surrogate"]
)
@pytest.mark.fault("audio")
def test_a_name_that_no_file_can_have(tmp_path, name):
    refused(tmp_path / name, "permission", "the file cannot be opened (")


@pytest.mark.fault("audio")
def test_a_folder_and_a_pipe(tmp_path):
    refused(tmp_path, "not_audio", "not an audio file (Is a directory)")
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "not_audio", "not an audio file (Illegal seek)")


@pytest.mark.parametrize(
    "content",
    [b"x", b"hello", b"<html></html>" * 100, b"\0" * 5000, b"PK\3\4" * 50, b"\x80\x04K\x01."],
)
@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "raw"])
@pytest.mark.fault("audio")
def test_a_file_that_is_not_audio(tmp_path, content, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    refused(path, "not_audio", f"not an audio file (it starts with {content[:4]!r})")


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.fault("audio")
def test_a_file_of_which_only_the_first_bytes_are_there(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise(16000), 16000)
    content = path.read_bytes()
    for length in (4, 11, 20, 40):
        path.write_bytes(content[:length])
        with pytest.raises(AudioError) as error:
            load_audio(path)
        assert error.value.kind in ("corrupt", "truncated", "not_audio", "empty")


@pytest.mark.parametrize(
    ("ending", "position"), [("wav", 12), ("wav", 20), ("flac", 18), ("ogg", 30)]
)
@pytest.mark.fault("audio")
def test_a_header_that_is_corrupt(tmp_path, ending, position):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise(16000), 16000)
    content = bytearray(path.read_bytes())
    content[position : position + 6] = b"\xee" * 6
    path.write_bytes(content)
    refused(path, "corrupt", "the audio header is corrupt (")


@pytest.mark.fault("audio")
def test_an_impossible_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(16000), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    for rate in (1, 999, 768_001, 2**31 - 1):
        content[24:28] = struct.pack("<I", rate)
        (tmp_path / "a.wav").write_bytes(content)
        refused(tmp_path / "a.wav", "corrupt", f"(a sample rate of {rate} Hz)")


@pytest.mark.parametrize("keep", [0.99, 0.5, 0.1])
@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("wav", {}),
        ("wav", {"endian": "BIG"}),
        ("wav", {"format": "RF64"}),
        ("wav", {"format": "WAVEX", "subtype": "FLOAT"}),
        ("aiff", {}),
        ("flac", {}),
        ("ogg", {}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("mp3", {}),
    ],
)
@pytest.mark.fault("audio")
def test_a_file_that_holds_less_than_its_header_promises(tmp_path, ending, options, keep):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise(48000), 16000, **options)
    load_audio(path)
    cut(path, min(keep, 0.95) if ending == "mp3" else keep)  # one MP3 frame is let pass
    refused(path, "truncated", "the audio is truncated or damaged (")


def test_the_message_tells_what_is_lacking(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(16000), 16000)
    cut(tmp_path / "a.wav", 1044)
    assert refused(tmp_path / "a.wav", "truncated", "") == (
        f"{tmp_path / 'a.wav'}: the audio is truncated or damaged (the header promises 32000 bytes "
        "of audio, 1000 are there). Expected a whole file; copy it again."
    )
    refused(tmp_path / "a.wav", "truncated", "", by=read_info)


@pytest.mark.fault("audio")
def test_a_flac_with_a_hole_in_it(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(160_000), 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[100_000:140_000] = bytes(40_000)
    (tmp_path / "a.flac").write_bytes(content)
    refused(tmp_path / "a.flac", "truncated", "the audio is truncated or damaged (")


@pytest.mark.fault("audio")
def test_a_header_that_promises_terabytes_takes_no_memory(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(16000), 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"  # 2**36 - 1 samples, 275 GB as float32
    (tmp_path / "a.flac").write_bytes(content)
    refused(tmp_path / "a.flac", "truncated", "the header promises 68719476735 samples")
    with pytest.raises(AudioError):
        load_audio(tmp_path / "a.flac", max_seconds=2, crop_seed=1)
    windows = iter_windows(tmp_path / "a.flac", window_seconds=0.5, hop_seconds=0.5)
    assert len(next(windows).samples) == 8000
    with pytest.raises(AudioError):
        list(windows)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
@pytest.mark.fault("audio")
def test_a_file_without_samples(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise(0), 16000)
    said = refused(path, "empty", "the file has no audio in it")
    assert SHORTEST in said
    path.write_bytes(b"")
    assert refused(path, "empty", "") == (
        f"{path}: the file has no audio in it (0 bytes). {SHORTEST}; copy it again or remove it."
    )


@pytest.mark.parametrize(("count", "rate"), [(399, 16000), (1, 16000), (199, 8000), (1099, 44100)])
@pytest.mark.fault("audio")
def test_a_file_that_is_too_short_for_one_frame(tmp_path, count, rate):
    soundfile.write(tmp_path / "a.wav", noise(count), rate)
    length = -(-count * 16000 // rate)
    said = refused(tmp_path / "a.wav", "short", f"too short, {length} samples at 16 kHz. ")
    assert SHORTEST in said
    for options in ({"max_seconds": 4, "crop_seed": 1}, {"max_seconds": 1}):
        with pytest.raises(AudioError):
            load_audio(tmp_path / "a.wav", **options)


@pytest.mark.parametrize(("count", "rate"), [(400, 16000), (200, 8000), (1103, 44100)])
def test_400_samples_are_enough(tmp_path, count, rate):
    soundfile.write(tmp_path / "a.wav", noise(count), rate)
    assert len(load_audio(tmp_path / "a.wav")) >= 400


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
@pytest.mark.fault("audio")
def test_samples_that_are_not_finite(tmp_path, value, rate, channels):
    samples = noise(rate, channels)
    samples[7000, 0] = value
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    refused(tmp_path / "a.wav", "nonfinite", f"1 of {rate} samples are NaN or infinite. ")
    assert read_info(tmp_path / "a.wav").sample_rate == rate  # headers do not tell


def test_silence_and_clipping_are_no_errors(tmp_path):
    for name, samples in (("silent", np.zeros(16000)), ("clipped", np.ones(16000))):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000)
        assert len(load_audio(tmp_path / f"{name}.wav")) == 16000


def test_names_of_any_kind_are_opened(tmp_path):
    for name in (
        "with space.wav",
        "quote\"s 'and' `more`.wav",
        "new\nline.wav",
        "Zoë 声 🎙.wav",
        "-rf.wav",
        "%s{0}$HOME.wav",
        "x" * 251 + ".wav",
    ):
        soundfile.write(tmp_path / "plain.wav", noise(800), 16000)
        (tmp_path / "plain.wav").rename(tmp_path / name)
        assert len(load_audio(tmp_path / name)) == 800
        cut(tmp_path / name, 100)
        refused(tmp_path / name, "truncated", "")


def test_a_name_that_is_not_utf_8_is_opened(tmp_path):
    soundfile.write(tmp_path / "plain.wav", noise(800), 16000)
    name = os.fsdecode(os.fsencode(tmp_path) + b"/Zo\xeb.wav")
    os.rename(tmp_path / "plain.wav", name)  # noqa: PTH104
    assert len(load_audio(name)) == 800


@pytest.mark.fault("audio")
def test_the_error_survives_the_way_to_another_process(tmp_path):
    with pytest.raises(AudioError) as error:
        load_audio(tmp_path / "a.wav")
    copy = pickle.loads(pickle.dumps(error.value))
    assert (str(copy), copy.kind, copy.path) == (
        str(error.value),
        error.value.kind,
        error.value.path,
    )
    assert AudioError("text alone, as a data loader makes it").kind == "unknown"


@pytest.mark.fault("audio")
def test_a_corpus_of_every_fault_is_sorted_out(tmp_path):
    good, bad = make_every_fault(tmp_path)
    records = [Utterance(id=path.name, path=path) for path in sorted((*good, *bad))]
    found = find_bad_audio(records, decode=True)
    assert {one.utterance.path: one.error.kind for one in found} == bad
    assert set(bad.values()) == set(KINDS) - {"permission", "vanished", "demuxer", "channel"}
    by_header = {one.utterance.path: one.error.kind for one in find_bad_audio(records)}
    unseen = {"nonfinite.wav", "scale.wav"}
    assert by_header == {path: kind for path, kind in bad.items() if path.name not in unseen}


def make_every_fault(folder):
    good = [folder / f"good.{ending}" for ending in ("wav", "flac", "ogg", "mp3")]
    for path in good:
        soundfile.write(path, noise(16000), 16000)
    bad = {}
    for name, kind in (("truncated.wav", "truncated"), ("truncated.flac", "truncated")):
        soundfile.write(folder / name, noise(16000), 16000)
        cut(folder / name, 0.6)
        bad[folder / name] = kind
    for name, samples, kind in (
        ("nonfinite.wav", np.full(1600, np.nan), "nonfinite"),
        ("short.wav", noise(300), "short"),
        ("scale.wav", 1e30 * noise(1600), "scale"),
        ("empty.wav", noise(0), "empty"),
    ):
        soundfile.write(folder / name, samples, 16000, subtype="FLOAT")
        bad[folder / name] = kind
    for name, content, kind in (
        ("text.wav", b"hello, world", "not_audio"),
        ("pointer.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer"),
        ("video.wav", b"\0\0\0\x1cftypM4A \0\0\2\0", "truncated"),
        ("packed.wav", b"ajkg\2\xfb", "unsupported"),
        ("corrupt.wav", b"RIFF\x24\0\0\0WAVEfmt \xff\xff\xff\x7f", "corrupt"),
    ):
        (folder / name).write_bytes(content)
        bad[folder / name] = kind
    bad[folder / "missing.wav"] = "missing"
    return good, bad
