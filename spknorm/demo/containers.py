"""Sound in the containers in which some corpora are handed out, written by PyAV."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from spknorm.demo.synthesis import FloatArray
from spknorm.errors import MissingError

_CODECS = {".mp4": "aac", ".m4a": "aac", ".avi": "pcm_s16le", ".webm": "libopus"}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def write_container(path: Path, samples: FloatArray, rate: int, *, video: bool = False) -> None:
    """Write samples (L,) or (L, channels) in -1..1 to an mp4, m4a, avi or webm file.

    With `video` there are a few grey pictures beside the sound.

    Raises:
        MissingError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingError(
            f"{path.name} is written where PyAV is installed: `pip install "
            "'spknorm[containers]'` (or `pip install av`)."
        ) from error
    block = np.atleast_2d(samples.T).astype(np.float32)
    layout = _LAYOUTS[len(block)]
    with av.open(str(path), "w") as file:
        pictures: Any = file.add_stream("mpeg4", rate=10) if video else None
        if pictures is not None:
            pictures.width = pictures.height = 32
            pictures.pix_fmt = "yuv420p"
        sound: Any = file.add_stream(_CODECS[path.suffix], rate=rate, layout=layout)
        if pictures is not None:
            for number in range(max(1, block.shape[1] * 10 // rate)):
                picture = av.VideoFrame.from_ndarray(np.full((48, 32), 128, np.uint8), "yuv420p")
                picture.pts, picture.time_base = number, Fraction(1, 10)
                file.mux(pictures.encode(picture))
            file.mux(pictures.encode(None))
        size = sound.codec_context.frame_size or 1024
        fitted = av.AudioResampler(sound.codec_context.format, layout, rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", layout)
        frame.sample_rate, frame.pts = rate, 0
        for one in [*fitted.resample(frame), *fitted.resample(None)]:
            file.mux(sound.encode(one))
        file.mux(sound.encode(None))
