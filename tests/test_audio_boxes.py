"""A cut anywhere in what FFmpeg's libraries decode: in its middle, and in its last bytes."""

import numpy as np
import pytest

from spknorm.audio import AudioError, read_info
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
