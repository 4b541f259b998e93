"""Which parts of a recording are predicted: turns from a file, or speech that a detector found.

Before `__init__.py` in the flow. A list of turns keeps speakers apart, where it names them.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.audio import (
    SAMPLE_RATE,
    iter_parts,
    iter_windows,
    load_audio,
    printable,
    read_info,
)
from spknorm.corpora.tables import lines_of, number, text_of
from spknorm.errors import ConfigError, DataError, MissingError

logger = logging.getLogger(__name__)

WHOLE_SECONDS = 60.0
"""Longer recordings are heard window by window."""
WINDOW_SECONDS = 10.0
_TIMES = ("start", "end")
_SLACK_SECONDS = 1.0
"""How much longer a recording may be than its header says."""


class Segment(NamedTuple):
    """A part of a recording.

    Start and end are in seconds; `speaker` is None if nobody says who speaks.
    """

    start: float
    end: float
    speaker: str | None = None


def read_segments(path: Path | str, *, recording: Path | str) -> list[Segment]:
    """Return the turns that a .csv, .rttm or .TextGrid file lists for a recording, by start.

    CSV: columns start and end (seconds), perhaps speaker, and file or path where it lists several
    recordings: of files of one name in several folders, those of the place. RTTM: its SPEAKER
    lines. TextGrid: the intervals with a text in them; a tier's name is the speaker's where there
    are several tiers.

    Raises:
        MissingError: No such file, or what reads a TextGrid is not installed.
        DataError: A line that cannot be read, a turn that ends before it starts, or none.
        ConfigError: Another kind of file.
    """
    path, recording = Path(path), Path(recording)
    found = []
    for place, segment in _reader_of(path)(path, recording):
        if not (0 <= segment.start < segment.end < math.inf):
            raise DataError(
                f"{printable(path)}, {place}: a segment must start at 0 or later and end after "
                f"that, but this one is {segment.start:g} to {segment.end:g} s."
            )
        found.append(segment)
    if not found:
        raise DataError(f"{printable(path)} lists no segment of {printable(recording.name)}.")
    return sorted(found, key=lambda segment: (segment.start, segment.end, segment.speaker or ""))


def segments_of(asked: str) -> Callable[[Path], Sequence[Segment]]:
    """Return what gives a recording's segments: `vad` the detector, a file its turns.

    Raises:
        MissingError, ConfigError: See `read_segments`; what needs no recording is found here.
    """
    if asked == "vad":
        return find_speech
    _reader_of(Path(asked))
    return lambda recording: read_segments(asked, recording=recording)


def _reader_of(path: Path) -> Callable[[Path, Path], Iterator[tuple[str, Segment]]]:
    readers = {".csv": _from_csv, ".rttm": _from_rttm, ".textgrid": _from_textgrid}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"`--segments` must be vad or a file that ends in .csv, .rttm or .TextGrid, but is "
            f"`{printable(path)}`."
        )
    if not path.is_file():
        raise MissingError(f"There is no file {printable(path)} with segments.")
    return reader


def find_speech(recording: Path | str) -> list[Segment]:
    """Return where Silero's voice activity detector hears speech.

    Raises:
        MissingError: It is not installed.
        DataError: There is no speech.
        AudioError: The recording cannot be used.
    """
    try:
        import silero_vad
    except ImportError:
        raise MissingError(
            "Finding speech needs silero-vad: pip install 'spknorm[segments]', or list the "
            "segments in a file."
        ) from None
    import torch

    spans: list[dict[str, Any]] = silero_vad.get_speech_timestamps(
        torch.from_numpy(load_audio(recording)),
        silero_vad.load_silero_vad(),
        sampling_rate=SAMPLE_RATE,
    )
    if not spans:
        raise DataError(f"No speech was found in {printable(recording)}.")
    return [Segment(span["start"] / SAMPLE_RATE, span["end"] / SAMPLE_RATE) for span in spans]


def parts_of(
    path: Path, window: float | None, hop: float | None, segments: Sequence[Segment] | None
) -> Iterator[tuple[float, str | None, NDArray[np.float32]]]:
    """Yield start, speaker and samples of what is predicted of a file."""
    if segments is None and window is None:
        if read_info(path).seconds <= WHOLE_SECONDS:
            yield 0.0, None, load_audio(path)
            return
        window = WINDOW_SECONDS
    if segments is None:
        assert window is not None
        step = window if hop is None else hop
        for part in iter_windows(path, window_seconds=window, hop_seconds=step):
            yield part.start_second, None, part.samples
        return
    left_out, last = 0, read_info(path).seconds + _SLACK_SECONDS
    for segment in segments:
        length = segment.end - segment.start
        if window is None:
            size = step = length if length <= WHOLE_SECONDS else WINDOW_SECONDS
        else:
            size, step = window, window if hop is None else hop
        inside = segment._replace(end=min(segment.end, last))
        spans = cut_segment(inside, window_seconds=size, hop_seconds=step)
        heard = False
        for part in iter_parts(path, spans):
            heard = True
            yield part.start_second, segment.speaker, part.samples
        left_out += not heard
    if left_out:
        logger.warning(
            "%s: %d of %d segments are left out, behind its end or under 25 ms long.",
            printable(path),
            left_out,
            len(segments),
        )


def cut_segment(
    segment: Segment, *, window_seconds: float, hop_seconds: float
) -> Iterator[tuple[float, float]]:
    """Yield the windows of a segment, (start, end) in seconds; the last may be shorter."""
    for index in range(math.ceil((segment.end - segment.start) / hop_seconds)):
        start = segment.start + index * hop_seconds
        end = min(start + window_seconds, segment.end)
        yield start, end
        if end == segment.end:
            return


def _from_csv(path: Path, recording: Path) -> Iterator[tuple[str, Segment]]:
    lines = [
        (line, row, row.get("file") or row.get("path")) for line, row in lines_of(path, _TIMES)
    ]
    named = {name for _, _, name in lines if name}
    own = {name for name in named if Path(name).absolute() == recording.absolute()}
    own = own or {name for name in named if _is_of(name, recording)}
    for line, row, name in lines:
        if name and name not in own:
            continue
        place = f"line {line}"
        start, end = (_second(row[key], path, place) for key in _TIMES)
        yield place, Segment(start, end, row.get("speaker"))  # "": every row has the column


def _from_rttm(path: Path, recording: Path) -> Iterator[tuple[str, Segment]]:
    for index, line in enumerate(text_of(path).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        place = f"line {index}"
        if len(fields) < 8:
            raise DataError(
                f"{printable(path)}, {place}: a SPEAKER line has at least 8 fields, but this one "
                f"has {len(fields)}."
            )
        if _is_of(fields[1], recording):
            start, length = (_second(fields[place_], path, place) for place_ in (3, 4))
            speaker = None if fields[7] == "<NA>" else fields[7]
            yield place, Segment(start, start + length, speaker)


def _from_textgrid(path: Path, recording: Path) -> Iterator[tuple[str, Segment]]:
    try:
        from praatio.utilities.textgrid_io import parseTextgridStr
    except ImportError:
        raise MissingError(
            "Reading a TextGrid needs praatio: pip install 'spknorm[segments]', or save the "
            "segments as CSV."
        ) from None
    text = text_of(path)
    try:  # the text alone: what else praatio reads it into refuses turns that overlap
        tiers = [t for t in parseTextgridStr(text)["tiers"] if t["class"] == "IntervalTier"]
        turns = [(t["name"], float(e[0]), float(e[1])) for t in tiers for e in t["entries"]]
    except Exception as error:  # whatever its indices and fields meet in a text of another kind
        raise DataError(
            f"{printable(path)} is no TextGrid, or not a whole one: save it from Praat as a text "
            "file or a short text file."
        ) from error
    for name, start, end in turns:
        yield f"tier {name}", Segment(start, end, name if len(tiers) > 1 else None)


def _is_of(name: str, recording: Path) -> bool:
    return Path(name).name in (recording.name, recording.stem)


def _second(text: str | None, path: Path, place: str) -> float:
    try:
        return number(text or "", "a time")
    except ValueError:
        raise DataError(f"{printable(path)}, {place}: `{text}` is no number of seconds.") from None
