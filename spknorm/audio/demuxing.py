"""Sound in MPEG-4, WebM, AVI and other containers, through PyAV where it is installed.

Before opening.py, which takes this decoder for what libsndfile does not read. Decoding is always
from the beginning, so that any part of a file equals that part of the whole, bit for bit.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spknorm.audio.faults import audio_error, reason_of

_SLACK_SECONDS = 0.25  # a container's own length is that of its longest stream


class Demuxed:
    """The first sound stream of a container, with the few methods of a SoundFile that are used.

    Attributes:
        samplerate: In Hz.
        channels: How many.
        frames: Counted by decoding, since no header is exact.
        layout: FFmpeg's name of the channels, such as `5.1`.
    """

    subtype = "DEMUXED"
    can_seek = False

    def __init__(self, path: Path, kind: str) -> None:
        """Open a file; `kind` is what it is, for the message.

        Raises:
            AudioError: PyAV is not installed, or the file has no sound, is damaged or is cut.
        """
        try:
            import av
        except ImportError as error:
            raise audio_error("demuxer", path, kind) from error
        self.path, self.format = path, kind
        try:
            self._container: Any = av.open(str(path), metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise audio_error("corrupt", path, reason_of(error)) from error
        try:
            streams = self._container.streams.audio
            if not streams:
                raise audio_error("empty", path, f"{kind} without a sound stream")
            self._stream: Any = streams[0]
            if self._stream.codec_context is None:  # FFmpeg knows no codec of that name
                raise audio_error("corrupt", path, f"{kind} with an unknown codec")
            self.samplerate: int = self._stream.codec_context.sample_rate
            self.channels: int = self._stream.codec_context.channels
            self.layout: str = self._stream.codec_context.layout.name
            self._errors = (av.error.FFmpegError, EOFError)
            self._blocks = self._decode()
            self._rest = np.zeros((0, self.channels), np.float32)
            self.frames = sum(len(block) for block in self._blocks)
            self._check_length()
        except BaseException:
            self.close()
            raise
        self.rewind()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def rewind(self) -> None:
        """Begin anew."""
        import av

        self._container.close()
        self._container = av.open(str(self.path), metadata_errors="replace")
        self._stream = self._container.streams.audio[0]
        self._blocks = self._decode()
        self._rest = np.zeros((0, self.channels), np.float32)

    def read(self, count: int, **_: Any) -> npt.NDArray[np.float32]:
        """Return the next `count` frames, (count, channels), fewer at the end."""
        parts, missing = [self._rest[:count]], count - len(self._rest)
        self._rest = self._rest[count:]
        while missing > 0:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block[:missing])
            self._rest = block[missing:]
            missing -= len(block)
        return np.concatenate(parts)

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        import av

        planar = av.AudioResampler(format="fltp")  # another way to write the same samples
        try:
            for frame in self._container.decode(self._stream):
                for one in planar.resample(frame):
                    yield np.ascontiguousarray(one.to_ndarray().T)
        except self._errors as error:
            raise audio_error("truncated", self.path, reason_of(error)) from error

    def _check_length(self) -> None:
        length = self._stream.duration
        if length is not None:
            promised = float(length * self._stream.time_base)
        else:
            promised = (self._container.duration or 0) / 1e6
        seconds = self.frames / self.samplerate if self.samplerate else 0.0
        own = length is not None or len(self._container.streams) == 1
        if own and self.frames and seconds < promised - _SLACK_SECONDS:
            text = f"it promises {promised:.2f} s of sound, {seconds:.2f} s are there"
            raise audio_error("truncated", self.path, text)
