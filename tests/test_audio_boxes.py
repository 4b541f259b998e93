"""A cut anywhere in what FFmpeg's libraries decode: in its middle, and in its last bytes."""

import numpy as np
import pytest

from spknorm.audio import AudioError, boxes, read_info
from spknorm.audio.decoding import AudioFile

av = pytest.importorskip("av")

KINDS = {  # name -> format, codec, options of the format
    "recorder.webm": ("webm", "libopus", {"live": "1"}),
    "whole.webm": ("webm", "libopus", {}),
    "whole.mka": ("matroska", "aac", {}),
    "pieces.mp4": ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "front.m4a": ("mp4", "aac", {"movflags": "faststart"}),
    "phone.3gp": ("3gp", "aac", {}),
    "film.mov": ("mov", "pcm_s16le", {}),
    "film.flv": ("flv", "aac", {}),
    "old.wma": ("asf", "wmav2", {}),
}


def write(path, kind, codec, options):
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(np.arange(48000) * 0.03) + rng.normal(0, 0.05, 48000)
    with av.open(str(path), "w", format=kind, container_options=options) as file:
        sound = file.add_stream(codec, rate=48000, layout="mono")
        sound.bit_rate = 64000
        size = sound.codec_context.frame_size or 1024
        fitted = av.AudioResampler(sound.codec_context.format, "mono", 48000, frame_size=size)
        frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        for one in [*fitted.resample(frame), *fitted.resample(None), None]:
            file.mux(sound.encode(one))
    return path


def pieces(content, kind):
    """Where each frame of an AAC (ADTS) or AMR file begins, and where the last one ends."""
    places = [0 if kind.startswith("AAC") else len(content.split(b"\n")[0]) + 1]
    while places[-1] < len(content):
        at = places[-1]
        if kind.startswith("AAC"):
            places.append(at + (int.from_bytes(content[at + 3 : at + 6], "big") >> 5 & 0x1FFF))
        else:
            narrow, wide = {7: 32, 2: 16, 8: 6, 15: 1}, {8: 61, 2: 33, 9: 6, 15: 1}
            lengths = wide if content.startswith(b"#!AMR-WB") else narrow
            places.append(at + lengths[content[at] >> 3 & 15])
    return places


def frame_of(kind, length):
    return bytes([kind << 3 | 4]) + bytes(length - 1)


@pytest.mark.parametrize("name", ["a.aac", "narrow.amr", "wide.amr"])
def test_of_bare_frames_a_cut_within_one_is_found_and_one_between_two_is_a_shorter_file(
    name, tmp_path
):
    kind = "AAC (ADTS)" if name == "a.aac" else "AMR"
    path = tmp_path / name
    if kind.startswith("AAC"):
        write(path, "adts", "aac", {})
    elif name == "narrow.amr":
        frames = [(7, 32), (2, 16), (8, 6), (15, 1), (7, 32)]
        path.write_bytes(b"#!AMR\n" + b"".join(frame_of(*one) for one in frames))
    else:
        frames = [(8, 61), (2, 33), (9, 6), (15, 1), (8, 61)]
        path.write_bytes(b"#!AMR-WB\n" + b"".join(frame_of(*one) for one in frames))
    content = path.read_bytes()
    places = pieces(content, kind)
    assert places[-1] == len(content)
    for place in range(places[1] + 1, len(content) + 1):
        path.write_bytes(content[:place])
        with path.open("rb") as file:
            found = boxes.lacking(file.fileno(), kind, place)
        assert (found is None) == (place in places), place
    path.write_bytes(content[: places[-2] + 1])
    if len(frame_of_last := content[places[-2] :]) > 1:
        with pytest.raises(AudioError) as error:
            AudioFile(path).close()
        assert f"its last frame says {7 if kind != 'AMR' else len(frame_of_last)} bytes, 1 are" in (
            str(error.value)
        )


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_at_any_place_is_found_and_a_whole_file_is_read(name, tmp_path):
    path = write(tmp_path / name, *KINDS[name])
    assert 0.9 < read_info(path).seconds < 1.2
    content = path.read_bytes()
    places = [len(content) * part // 41 + 1 for part in range(8, 41)]
    for place in [*places, *(len(content) - few for few in (12, 30, 100))]:
        path.write_bytes(content[:place])
        with pytest.raises(AudioError) as error:
            AudioFile(path).close()
        assert error.value.kind in ("truncated", "corrupt", "empty"), place
