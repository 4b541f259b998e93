"""Every container that is accepted is checked for truncation, and whole ones are not called cut."""

import random
import struct

import numpy as np
import pytest
import soundfile
from sounds import NOISE, kind_of, written

from spknorm.audio import AudioError, iter_windows, load_audio, read_info, streams
from spknorm.corpora.checks import find_bad_audio
from spknorm.corpora.records import Utterance

ACCEPTED = {  # (format, subtype): bytes at the end that a cut may take without taking sound
    **{("WAV", s): 1 for s in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM", "GSM610")},
    ("WAVEX", "PCM_16"): 0,
    ("RF64", "PCM_16"): 0,
    **{("W64", s): 0 for s in ("PCM_16", "IMA_ADPCM", "GSM610")},
    **{("AIFF", s): 1 for s in ("PCM_16", "PCM_U8", "FLOAT", "IMA_ADPCM", "DWVW_16")},
    **{("AU", s): 0 for s in ("PCM_16", "ULAW", "ALAW", "G721_32", "DOUBLE")},
    **{("CAF", s): 0 for s in ("PCM_16", "ULAW", "ALAC_16", "FLOAT")},
    **{("FLAC", s): 0 for s in ("PCM_16", "PCM_24")},
    **{("OGG", s): 0 for s in ("VORBIS", "OPUS")},
    ("MP3", "MPEG_LAYER_III"): 0,
    **{("NIST", s): 0 for s in ("PCM_16", "ULAW", "ALAW")},
}
REFUSED = ("AVR", "HTK", "MAT4", "MAT5", "PAF", "PVF", "SDS", "IRCAM", "VOC", "WVE", "XI", "SVX")


@pytest.mark.parametrize(("form", "subtype"), ACCEPTED)
@pytest.mark.fault("audio")
def test_a_cut_at_any_place_is_found(tmp_path, form, subtype):
    path = tmp_path / "a.wav"
    content = written(path, form, subtype)
    assert read_info(path).num_samples >= len(NOISE)
    last = len(content) - ACCEPTED[form, subtype]
    for length in {*range(1, last, last // 60), last // 3, last - 3, last - 2, last - 1}:
        path.write_bytes(content[:length])
        kind = kind_of(path)
        assert kind == "truncated" or (kind in ("corrupt", "not_audio", "empty") and length < 4200)
    path.write_bytes(content[: len(content) // 3])
    assert kind_of(path) == "truncated"


@pytest.mark.parametrize(("form", "subtype"), ACCEPTED)
def test_a_crop_is_a_part_of_the_whole(tmp_path, form, subtype):
    path = tmp_path / "a.wav"
    written(path, form, subtype)
    whole = load_audio(path)
    for seed in range(3):
        crop = load_audio(path, max_seconds=0.1, crop_seed=seed)
        start = int(random.Random(seed).random() * (len(whole) - 1600 + 1))
        assert np.array_equal(crop, whole[start : start + 1600])


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("form", ["AU", "WAV", "AIFF", "CAF"])
@pytest.mark.fault("audio")
def test_a_cut_is_found_in_either_byte_order(tmp_path, form, endian):
    path = tmp_path / "a.wav"
    content = written(path, form, "PCM_16", endian=endian)
    path.write_bytes(content[: len(content) // 3])
    assert kind_of(path) == "truncated"


@pytest.mark.parametrize("form", REFUSED)
def test_a_container_in_which_a_cut_cannot_be_told_is_not_accepted(tmp_path, form):
    path = tmp_path / "a.wav"
    written(path, form, soundfile.default_subtype(form) or soundfile.available_subtypes(form)[0])
    assert kind_of(path) == "unsupported"


def test_a_voc_file_that_libsndfile_cannot_read_is_called_by_its_name(tmp_path):
    (tmp_path / "a.voc").write_bytes(
        b"Creative Voice File\x1a\x1a\x00\x14\x01\x1f\x11\x01\x02\x08\x00\xc1\x00" + b"\x80" * 8000
    )  # a block of a kind that libsndfile does not take, as ffmpeg writes it
    with pytest.raises(AudioError) as error:
        read_info(tmp_path / "a.voc")
    assert error.value.kind == "unsupported"
    assert "(VOC (Creative Labs), where a cut cannot be told)" in str(error.value)


def test_skip_bad_and_the_doctor_see_a_cut_au_file(tmp_path):
    path = tmp_path / "a.au"
    content = written(path, "AU", "PCM_16")
    path.write_bytes(content[: len(content) // 3])
    for decode in (False, True):
        ((_, error),) = find_bad_audio([Utterance(id="a", path=path)], decode=decode)
        assert str(error) == (
            f"{path}: the audio is truncated or damaged (the header promises 16000 bytes of audio, "
            f"{len(content) // 3 - 24} are there). Expected a whole file; copy it again."
        )


SIZES = (0, 0xFFFFFFFF, 2_000_000_000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x7FFFF000 - 36, 10**9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["WAV", "AU", "AIFF"])
def test_a_stream_whose_size_was_never_filled_in_is_whole(tmp_path, form, size):
    path = tmp_path / "a.wav"
    content = bytearray(written(path, form, "PCM_16"))
    at, order = {
        "WAV": (content.find(b"data") + 4, "<I"),
        "AU": (8, ">I"),
        "AIFF": (content.find(b"SSND") + 4, ">I"),
    }[form]
    whole = load_audio(path)
    content[at : at + 4] = struct.pack(order, size)
    if form == "AIFF":  # its count of frames is not known, either
        content[content.find(b"COMM") + 10 :][:4] = struct.pack(">I", size // 2)
    path.write_bytes(content)
    assert np.array_equal(load_audio(path), whole)
    assert np.array_equal(load_audio(path, max_seconds=0.1), whole[:1600])


def test_ten_hours_are_a_size_and_no_placeholder(tmp_path):
    path = tmp_path / "a.wav"
    content = bytearray(written(path, "WAV", "PCM_16"))
    at = content.find(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 36_000 * 32_000)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"the header promises 1152000000 bytes of audio, "):
        load_audio(path)


@pytest.mark.parametrize("size", [0, 2**64 - 1, 2**63 - 1])
def test_an_rf64_or_wave64_stream_is_whole(tmp_path, size):
    path = tmp_path / "a.wav"
    for form, place in (("RF64", 28), ("W64", None)):
        content = bytearray(written(path, form, "PCM_16"))
        at = content.find(b"data\xf3\xac") + 16 if place is None else place
        content[at : at + 8] = struct.pack("<Q", size)
        path.write_bytes(content)
        assert read_info(path).num_samples == len(NOISE)
        assert len(load_audio(path)) == len(NOISE)


@pytest.mark.parametrize("size", [-1, 0, 4])
def test_a_caf_stream_is_whole(tmp_path, size):
    path = tmp_path / "a.caf"
    content = bytearray(written(path, "CAF", "PCM_16"))
    whole = load_audio(path)
    at = content.find(b"data") + 4
    content[at : at + 8] = struct.pack(">q", size)
    path.write_bytes(content)
    assert read_info(path).num_samples == len(NOISE)
    assert np.array_equal(load_audio(path), whole)


@pytest.mark.parametrize(
    ("size", "behind"), [(0, b""), (4, b""), (4, b"info" + struct.pack(">q", 7) + b"\0\0\0\0abc")]
)
def test_a_caf_file_without_sound_is_empty(tmp_path, size, behind):
    path = tmp_path / "a.caf"
    content = written(path, "CAF", "PCM_16")
    begin = content.find(b"data") + 12
    head = content[: begin - 8] + struct.pack(">q", size) + bytes(size)
    path.write_bytes(head + behind)
    assert kind_of(path) == "empty"


def test_a_wave64_or_sphere_file_whose_size_says_no_sound_is_a_stream(tmp_path):
    path = tmp_path / "a.wav"
    content = bytearray(written(path, "W64", "PCM_16"))
    at = content.find(b"data\xf3\xac") + 16
    content[at : at + 8] = struct.pack("<Q", 24)  # its own header alone
    path.write_bytes(content)
    assert len(load_audio(path)) == len(NOISE)
    content = written(path, "NIST", "PCM_16")
    count = f"sample_count -i {len(NOISE)}".encode()
    assert count in content
    path.write_bytes(content.replace(count, b"sample_count -i 0".ljust(len(count))))
    assert len(load_audio(path)) == len(NOISE)


def test_a_wav_file_without_sound_but_with_tags_is_empty_and_not_a_stream(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE[:0], 16000)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 5) + b"INFOx\0")
    assert kind_of(path) == "empty"


def test_a_size_that_only_a_long_file_has_is_a_promise(tmp_path):
    path = tmp_path / "a.wav"
    content = bytearray(written(path, "WAV", "PCM_16"))
    for size in (16002, 999_999_998, 1_234_567_890):
        content[40:44] = struct.pack("<I", size)
        path.write_bytes(content)
        assert kind_of(path) == "truncated"


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_whose_last_page_does_not_say_so_is_whole(tmp_path, subtype):
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.tile(NOISE, 10), 16000, format="OGG", subtype=subtype)
    content = bytearray(path.read_bytes())
    whole = load_audio(path)
    last = content.rfind(b"OggS")
    content[last + 5] &= ~4
    content[last + 22 : last + 26] = bytes(4)
    content[last + 22 : last + 26] = struct.pack("<I", ogg_checksum(content[last:]))
    path.write_bytes(content)
    found = load_audio(path)
    assert abs(len(found) - len(whole)) < 960  # Opus' mark cuts the padding of the last frame
    assert np.array_equal(found[:78000], whole[:78000])  # the end decides the last block's window
    path.write_bytes(content + b"Og")
    assert kind_of(path) == "truncated"


def ogg_checksum(page):
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


TAG = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")]
)
@pytest.mark.parametrize("tags", [1, 2])
@pytest.mark.fault("audio")
def test_tags_in_front_do_not_hide_what_follows(tmp_path, form, subtype, tags):
    path = tmp_path / "a.wav"
    content = TAG * tags + written(path, form, subtype)
    path.write_bytes(content)
    assert read_info(path).num_samples == len(NOISE)
    path.write_bytes(content[: len(content) // 2])
    assert kind_of(path) == "truncated"


def test_tags_and_padding_behind_an_mp3_are_no_cut(tmp_path):
    path = tmp_path / "a.mp3"
    content = written(path, "MP3", "MPEG_LAYER_III")
    for tail in (b"TAG" + bytes(125), bytes(5000), b"APETAGEX" + b"\xff\xd8\xff\xe0" * 300):
        path.write_bytes(content + tail)
        assert read_info(path).num_samples == len(NOISE)


@pytest.mark.parametrize("mark", ["Xing", "VBRI"])
def test_an_mp3_with_a_count_that_is_cut_between_frames_is_told(tmp_path, mark):
    path = tmp_path / "a.mp3"
    content = bytearray(written(path, "MP3", "MPEG_LAYER_III"))
    at = content.find(b"Xing")
    frames, num_bytes = (int.from_bytes(content[at + 8 + n : at + 12 + n], "big") for n in (0, 4))
    if mark == "VBRI":  # always 32 bytes behind the header of the first frame
        content[at : at + 4] = bytes(4)
        tag = b"VBRI" + bytes(6) + num_bytes.to_bytes(4, "big") + frames.to_bytes(4, "big")
        content[36 : 36 + len(tag)] = tag
    path.write_bytes(content)
    assert read_info(path).num_samples > 0
    places, position = [], 0
    while position < len(content):
        places.append(position)
        position += streams.mpeg_frame(bytes(content[position : position + 4])).length
    for place in places[2:]:
        path.write_bytes(content[:place])
        with pytest.raises(AudioError, match=r"promises \d+ (bytes of MP3|MP3 frames)"):
            read_info(path)


def test_an_mp3_that_ends_a_frame_before_its_count_is_read_window_by_window(tmp_path):
    path = tmp_path / "a.mp3"
    content = bytearray(written(path, "MP3", "MPEG_LAYER_III"))
    count = content.find(b"Xing") + 8
    frames = int.from_bytes(content[count : count + 4], "big") + 1
    content[count : count + 4] = frames.to_bytes(4, "big")
    path.write_bytes(content)
    whole = load_audio(path)
    assert len(whole) < read_info(path).num_samples  # else this tests nothing
    for size in (400, len(whole) - 100, len(whole) + 50):
        seconds = size / 16000
        windows = iter_windows(path, window_seconds=seconds, hop_seconds=seconds)
        found = np.concatenate([window.samples for window in windows])
        assert len(whole) - len(found) < 400
        assert np.array_equal(found, whole[: len(found)])


def test_odd_chunks_extra_bytes_and_padding_are_no_cut(tmp_path):
    path = tmp_path / "a.wav"
    content = written(path, "WAV", "PCM_16")
    odd = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    for changed in (content[:36] + odd + content[36:], content + b"x", content + odd):
        path.write_bytes(changed)
        assert read_info(path).num_samples == len(NOISE)
