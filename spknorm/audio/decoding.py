"""Samples at a file's own rate, downmixed, from any place in it: libsndfile behind one class."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from spknorm.audio.demuxing import Demuxed
from spknorm.audio.excerpt import Sound, excerpt_of
from spknorm.audio.faults import AudioError, audio_error
from spknorm.audio.opening import open_decoder, open_descriptor

Samples = npt.NDArray[np.float32]

_BLOCK_FRAMES = 1 << 20
_UNKNOWN_FRAMES = 1 << 61
_LOWEST_RATE, _HIGHEST_RATE = 1000, 768_000  # Hz
LOUDEST = 2.0**32
"""Whole numbers of 32 bits kept as floats are below; far above, an upstream's variance overflows
and every recording is silence to it."""
_VORBIS_LEAD = 16384  # frames to decode before a seek is exact: each block overlaps the one before
_OVERHANG_SECONDS = 0.5  # so much may an excerpt say that it ends after its file does
_MP3_SLACK = 1152  # samples, one MP3 frame: encoders' delay and padding are not always told


class AudioInfo(NamedTuple):
    """What a header says.

    Attributes:
        num_samples: Per channel, at the file's own rate.
        sample_rate: In Hz.
        num_channels: 1 and more.
        seconds: num_samples / sample_rate.
    """

    num_samples: int
    sample_rate: int
    num_channels: int
    seconds: float


def read_info(sound: Sound) -> AudioInfo:
    """Return what the header of an audio file says, or what of it an excerpt is.

    Containers of PyAV are decoded for it, since their headers are not exact.

    Raises:
        AudioError: The file is missing, unreadable, not audio, corrupt, truncated or empty.
    """
    with AudioFile(sound) as file:
        file.reach_the_end()
        length, rate, channels, _ = file.info
        first, stop = file.span(rate, length)
        return AudioInfo(stop - first, rate, channels, (stop - first) / rate)


def decode_all(sound: Sound) -> None:
    """Decode a file to its end, a block at a time, to see that it can be.

    Raises:
        AudioError: As `read_info`, and where the audio breaks off or holds NaN or Inf.
    """
    with AudioFile(sound) as file:
        length = file.info.num_samples
        for start in range(0, length, _BLOCK_FRAMES):
            file.mono(start, min(_BLOCK_FRAMES, length - start))


class AudioFile:
    """An open audio file, checked, of which perhaps an excerpt is meant; `mono` reads any part.

    Raises:
        AudioError: The same as `read_info`.
    """

    def __init__(self, sound: Sound) -> None:
        """Open the file and check its header."""
        self._excerpt = excerpt_of(sound)
        self.path = self._excerpt.path
        self._position = 0
        self._descriptor = open_descriptor(self.path)
        try:
            self._file = open_decoder(self.path, self._descriptor)
            self._num_frames = self._file.frames
            unknown = self._num_frames >= _UNKNOWN_FRAMES
            self._is_mpeg = self._file.subtype.startswith("MPEG_LAYER")  # MP3, in a WAV file too
            self._in_order = unknown or not self._file.can_seek
            if unknown:
                self._num_frames = self._count()
            self._check()
            self._channel = self._place_of(self._excerpt.channel)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        decoder = getattr(self, "_file", None)
        if decoder is not None:
            decoder.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def info(self) -> AudioInfo:
        """What the header says."""
        rate = self._file.samplerate
        return AudioInfo(self._num_frames, rate, self._file.channels, self._num_frames / rate)

    def mono(self, start: int, count: int) -> Samples:
        """Return `count` frames from frame `start` on as the mean of the channels, (count,).

        Parts in ascending order are read without seeking.

        Raises:
            AudioError: The audio ends early, cannot be decoded, or holds NaN or Inf.
        """
        parts: list[Samples] = []
        with self._reporting():
            self._go_to(start)
            while count > 0:
                block = self._read(min(count, _BLOCK_FRAMES))
                if len(block) == 0:
                    break
                count -= len(block)
                if self._channel is None and block.shape[1] > 1:
                    parts.append(block.mean(axis=1))
                else:
                    parts.append(block[:, self._channel or 0])
        if count > (_MP3_SLACK if self._is_mpeg else 0):
            raise self._truncated()
        if not parts:
            return np.zeros(0, dtype=np.float32)
        samples = np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts))
        if not np.isfinite(samples).all():
            bad = int(len(samples) - np.isfinite(samples).sum())
            raise audio_error("nonfinite", self.path, f"{bad} of {len(samples)} samples are")
        if (peak := float(np.abs(samples).max())) > LOUDEST:
            raise audio_error("scale", self.path, f"{peak:.3g}")
        return samples

    def span(self, rate: int, length: int) -> tuple[int, int]:
        """Return where the excerpt begins and ends among the file's `length` samples at `rate`.

        Raises:
            AudioError: It ends before it begins, or after the file by more than 0.5 s.
        """
        start, end = self._excerpt.start or 0.0, self._excerpt.end
        if not start and end is None:
            return 0, length
        stop = length if end is None else round(end * rate)
        first = max(0, round(start * rate))
        if stop > length + rate * _OVERHANG_SECONDS or first >= min(stop, length):
            raise audio_error(
                "truncated",
                self.path,
                f"{start:g} to {'the end' if end is None else f'{end:g}'} s is asked for, it has "
                f"{length / rate:.2f} s",
            )
        return first, min(stop, length)

    def _place_of(self, channel: str | None) -> int | None:
        """Return the index of the channel that is heard; None: the mean."""
        number = self._file.channels
        if channel is None:
            return None
        if channel == "centre":  # front left, front right, front centre, ...; quadro has none
            known = getattr(self._file, "layout", "")
            return 2 if number >= 3 and number != 4 and "quad" not in known else None
        if int(channel) > number:
            raise audio_error("channel", self.path, f"channel {channel} of {number} is asked for")
        return int(channel) - 1

    def reach_the_end(self) -> None:
        """Ask for the last sample where the container alone does not tell that it is there.

        Raises:
            AudioError: It is not.
        """
        if not self._in_order and (self._file.format == "FLAC" or "ALAC" in self._file.subtype):
            with self._reporting():
                self._go_to(self._num_frames - 1)
                if len(self._read(1)) == 0:
                    raise self._truncated()

    def _go_to(self, start: int) -> None:
        if start == self._position:
            return
        if self._in_order:
            if start < self._position:
                self._rewind()
        else:
            assert not isinstance(self._file, Demuxed)  # which is read in order
            lead = _VORBIS_LEAD if self._file.subtype == "VORBIS" else 0
            self._position = self._file.seek(max(0, start - lead))
        while self._position < start:
            if len(self._read(min(start - self._position, _BLOCK_FRAMES))) == 0:
                if self._is_mpeg and self._num_frames - self._position <= _MP3_SLACK:
                    return  # there is nothing to be read, which is not a cut
                raise self._truncated()

    def _read(self, count: int) -> Samples:
        block: Samples = self._file.read(count, dtype="float32", always_2d=True)
        self._position += len(block)
        return block

    def _count(self) -> int:
        """Count the frames of a stream whose header does not tell."""
        with self._reporting():
            while len(self._read(_BLOCK_FRAMES)) == _BLOCK_FRAMES:
                pass
        count = self._position
        self._rewind()
        return count

    def _rewind(self) -> None:
        """Decode anew, as MP3's result depends on what was decoded before."""
        if isinstance(self._file, Demuxed):
            self._file.rewind()
            self._position = 0
            return
        self._file.close()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._file = open_decoder(self.path, self._descriptor)
        self._position = 0

    def _check(self) -> None:
        rate = self._file.samplerate
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            raise audio_error("corrupt", self.path, f"a sample rate of {rate} Hz")
        if self._num_frames == 0:
            raise audio_error("empty", self.path, "0 samples")

    def _truncated(self) -> AudioError:
        return audio_error(
            "truncated",
            self.path,
            f"the header promises {self._num_frames} samples, decoding ends at {self._position}",
        )

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (soundfile.SoundFileError, OSError, RuntimeError) as error:
            raise self._truncated() from error

    def __enter__(self) -> "AudioFile":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()
