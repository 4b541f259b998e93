"""Audio for upstreams: whole files, crops and windows, float32 mono at 16 kHz."""

import math
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from spknorm.audio.decoding import AudioFile, Samples
from spknorm.audio.excerpt import Sound
from spknorm.audio.faults import audio_error
from spknorm.audio.resampling import SAMPLE_RATE, Resampler
from spknorm.errors import ConfigError

MIN_SAMPLES = 400
"""At 16 kHz: what HuBERT's convolutions turn into one frame; fewer crash it."""

SILENT_BELOW = 10 ** (-60 / 20)
"""Half the range of a recording's samples, full scale 1, below which there is nothing to hear."""

_PART_SECONDS = 30  # what is decoded at a time where the rate has to be changed


class Window(NamedTuple):
    """A part of a recording: where it starts, and its samples (L,) at 16 kHz."""

    start_second: float
    samples: Samples


def load_audio(
    sound: Sound, *, max_seconds: float | None = None, crop_seed: int | None = None
) -> Samples:
    """Return an audio file as float32 mono at 16 kHz, (L,).

    A 16 kHz mono file comes as soundfile's float32, unchanged, which is what s3prl trains on;
    more channels are averaged, other rates resampled file by file.

    Args:
        sound: wav, flac, ogg, mp3 or anything else that libsndfile, or PyAV where it is installed,
            decodes, whatever its name ends in; or an `Excerpt` of such a file, which equals that
            part of the whole, bit for bit.
        max_seconds: Longer files are cut to this; only the part that is used is decoded.
        crop_seed: Where to cut, uniformly at random; None: at the beginning.

    Raises:
        AudioError: The file cannot be used; `kind` says why.
        ConfigError: `max_seconds` is shorter than an upstream's shortest input.
    """
    if max_seconds is not None and max_seconds * SAMPLE_RATE < MIN_SAMPLES:
        raise ConfigError(
            f"`max_seconds` must be at least {MIN_SAMPLES / SAMPLE_RATE}, but is {max_seconds}."
        )
    with AudioFile(sound) as file:
        stream = _Stream(file)
        start, count = 0, stream.length
        if max_seconds is not None and round(max_seconds * SAMPLE_RATE) < count:
            count = round(max_seconds * SAMPLE_RATE)
            if crop_seed is not None:
                choices = stream.length - count + 1
                start = int(random.Random(crop_seed).random() * choices)
        return stream.read(start, count)


def iter_windows(sound: Sound, *, window_seconds: float, hop_seconds: float) -> Iterator[Window]:
    """Yield the windows of a recording in order, in memory that its length does not change.

    Each equals the same part of `load_audio(sound)`. They start every `hop_seconds` for as long as
    one adds samples that the one before did not have; the last may be shorter, but not under
    400 samples.

    Raises:
        AudioError: The file cannot be used, as far as it is found while reading.
        ConfigError: See `check_windows`.
    """
    check_windows(window_seconds, hop_seconds)
    window, hop = round(window_seconds * SAMPLE_RATE), round(hop_seconds * SAMPLE_RATE)
    with AudioFile(sound) as file:
        stream = _Stream(file)
        start, covered = 0, 0
        while start < stream.length and covered < stream.length:
            count = min(window, stream.length - start)
            if count < MIN_SAMPLES:
                return
            samples = stream.next_part(start, count)
            if len(samples) < MIN_SAMPLES:  # an MP3 may end a frame earlier than its header says
                return
            yield Window(start / SAMPLE_RATE, samples)
            covered = start + count
            start += hop


def check_windows(window_seconds: float, hop_seconds: float) -> None:
    """Check the length of windows and the way from one to the next, before anything is loaded.

    Raises:
        ConfigError: One is too short for a window or a hop, infinite, or no number.
    """
    shortest, hop = MIN_SAMPLES / SAMPLE_RATE, 1 / SAMPLE_RATE
    if not (shortest <= window_seconds < math.inf and hop <= hop_seconds < math.inf):
        raise ConfigError(
            f"`window_seconds` must be at least {shortest} and `hop_seconds` positive, but they "
            f"are {window_seconds} and {hop_seconds}."
        )


def iter_parts(sound: Sound, spans: Iterable[tuple[float, float]]) -> Iterator[Window]:
    """Yield the parts of a recording from one second to another, each equal to that of the whole.

    What lies behind the end is left out; parts under 400 samples are, too.

    Raises:
        AudioError: The file cannot be used, as far as it is found while reading.
    """
    with AudioFile(sound) as file:
        stream = _Stream(file)
        for start_second, end_second in spans:
            start = round(start_second * SAMPLE_RATE)
            count = min(round(end_second * SAMPLE_RATE), stream.length) - start
            if count < MIN_SAMPLES:
                continue
            samples = stream.next_part(start, count)
            if len(samples) >= MIN_SAMPLES:
                yield Window(start / SAMPLE_RATE, samples)


class _Stream:
    """An open file, or the excerpt of it, as one stream at 16 kHz, `length` samples long."""

    def __init__(self, file: AudioFile) -> None:
        self._file = file
        self._num_samples = file.info.num_samples
        self._resample = Resampler(file.info.sample_rate)
        whole = self._resample.length(self._num_samples)
        self._first, stop = file.span(SAMPLE_RATE, whole)
        self.length = stop - self._first
        if self.length < MIN_SAMPLES:
            raise audio_error("short", file.path, f"{self.length} samples at 16 kHz")
        self._held: Samples = np.zeros(0, dtype=np.float32)
        self._held_start = 0

    def read(self, start: int, count: int) -> Samples:
        """Return samples [start, start + count)."""
        if self._resample.is_identity:
            return self._file.mono(self._first + start, count)
        step = _PART_SECONDS * SAMPLE_RATE
        parts = [
            self.next_part(begin, min(step, start + count - begin))
            for begin in range(start, start + count, step)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def next_part(self, start: int, count: int) -> Samples:
        """Return samples [start, start + count); what the part before has decoded is used again."""
        span = self._resample.input_span(self._first + start, count, self._num_samples)
        held_stop = self._held_start + len(self._held)
        if self._held_start <= span.start < held_stop:
            kept = self._held[span.start - self._held_start :]
            if span.stop > held_stop:
                fresh = self._file.mono(held_stop, span.stop - held_stop)
                kept = np.concatenate([kept, fresh])
            self._held = kept
        else:
            self._held = self._file.mono(span.start, span.stop - span.start)
        self._held_start = span.start
        return self._resample(self._held, skip=span.skip, count=count).copy()
