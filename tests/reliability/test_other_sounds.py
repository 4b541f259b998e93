"""Sound of another kind than its name says, or of a codec that is not read, is named."""

import struct

import pytest
from sounds import NOISE, kind_of, written

from spknorm.audio import AudioError, load_audio


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"ajkg\2\xfb", "shorten (shn)"), (b"BW64\xff\xff\xff\xffWAVE", "BW64")],
)
def test_sound_of_another_kind_is_named(tmp_path, content, said):
    path = tmp_path / "a.wav"
    path.write_bytes(content + bytes(500))
    with pytest.raises(AudioError) as error:
        load_audio(path)
    assert str(error.value) == (
        f"{path}: a kind of sound file that is not read ({said}). Expected wav, flac, ogg or mp3; "
        "convert it, with `ffmpeg -i FILE FILE.wav` or, if it is compressed SPHERE, with "
        "`sph2pipe -f wav`."
    )


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x1cftypM4A ",
        b"\x1aE\xdf\xa3\x01\0",
        b"#!AMR\n",
        b"\xff\xf1\x50\x80\0\0",
        b"RIFF\x24\0\0\0AVI LIST",
    ],
    ids=["m4a", "webm", "AMR", "AAC", "AVI"],
)
def test_a_container_of_pyav_with_nothing_behind_its_mark_is_damaged(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content + bytes(500))
    with pytest.raises(AudioError, match=r"a\.wav: the audio (header is corrupt|is truncated)"):
        load_audio(path)


@pytest.mark.parametrize(
    ("tag", "said"), [(0x50, "MPEG layer I or II"), (0xFF, "AAC"), (0x161, "Windows Media")]
)
def test_a_codec_within_a_wav_file_is_named(tmp_path, tag, said):
    path = tmp_path / "a.wav"
    content = bytearray(written(path, "WAV", "PCM_16"))
    content[20:22] = struct.pack("<H", tag)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"\({said} in a WAV file \(format tag {tag:#06x}\)\)"):
        load_audio(path)


def mp3_in_wav(tmp_path):
    stream = written(tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III")
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 16000, 4000, 1, 0, 12, 1, 2, 576, 1, 1393)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data"
    chunks += struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_mp3_in_a_wav_file_is_read_or_named(tmp_path):
    path = tmp_path / "a.wav"
    content = mp3_in_wav(tmp_path)
    path.write_bytes(content)
    try:
        assert abs(len(load_audio(path)) - len(NOISE)) <= 1152 * 2
    except AudioError as error:  # an older libsndfile
        assert "(MP3 in a WAV file (format tag 0x0055))" in str(error)
    path.write_bytes(content[: len(content) // 2])
    assert kind_of(path) == "truncated"


def test_compressed_sphere_that_is_cut_is_damaged(tmp_path):
    path = tmp_path / "a.sph"
    content = written(path, "NIST", "PCM_16")
    coding = b"sample_coding -s26 pcm,embedded-shorten-v2.00"
    packed = content.replace(b"sample_coding -s3 pcm", coding)[:4000]
    path.write_bytes(packed[:1024] + b"ajkg" + bytes(2000))
    with pytest.raises(AudioError, match=r"a\.sph: the audio is truncated or damaged"):
        load_audio(path)


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 32044\n",
        b"/annex/objects/SHA256E-s32044--4d7a.wav\n",
    ],
)
@pytest.mark.fault("audio")
def test_a_pointer_in_place_of_the_sound_is_named(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as error:
        load_audio(path)
    assert str(error.value) == (
        f"{path}: not the recording but a text that stands for it (git-lfs, git-annex). Expected "
        "audio; fetch it with `git lfs pull` or `git annex get`."
    )
    assert error.value.kind == "pointer"


@pytest.mark.parametrize(("form", "name"), [("W64", b"fmt \xf3\xac"), ("CAF", b"desc")])
def test_a_chunk_that_ends_beyond_any_file_is_a_documented_error(tmp_path, form, name):
    path = tmp_path / "a.wav"
    content = bytearray(written(path, form, "PCM_16"))
    at = content.find(name) + (16 if form == "W64" else 4)
    content[at : at + 8] = b"\x7f" + b"\xff" * 7
    path.write_bytes(content)
    assert kind_of(path) in ("corrupt", "truncated")
