"""A recording with its emotions over time, as one HTML file to look at and to listen to.

After `rows.py` in the flow. The page loads nothing and runs only its own script, whose hash its
policy names; texts are escaped by the template's engine.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from spknorm.audio import SAMPLE_RATE, iter_windows, printable
from spknorm.audio.decoding import Samples
from spknorm.errors import ConfigError
from spknorm.files import write_atomic
from spknorm.predict.rows import Prediction
from spknorm.report.tables import page, source_of

COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a800", "#7f7f7f")
"""Of the classes in turn, told apart by colour-blind people as well (Okabe and Ito)."""
PAGE_BYTES = 4_900_000
"""What its sound may fill a page up to; base64 makes four bytes of three."""
_BITRATES = 6.0, 256.0  # kbit/s, of libsndfile's Opus at compression levels 1 and 0
_GOOD_BITRATE = 32.0
_AIM = 0.95  # of the room, since Opus keeps to a rate on average only
_NUM_PEAKS = 1200
_PART_SECONDS = 30.0


def write_page(rows: Sequence[Prediction], path: Path | str, *, model: str) -> None:
    """Write the page of one recording.

    Its sound is in the page as Opus, at 32 kbit/s or what `PAGE_BYTES` leaves; where that is under
    6 kbit/s, as of recordings over about 75 minutes, the page asks for the file to play.

    `rows` are in any order; `model` is what predicted them, as readers know it.

    Raises:
        ConfigError: Another suffix, or rows of several recordings, of none, or of dimensions.
        AudioError: The recording cannot be read any more.
    """
    recordings = sorted({row.path for row in rows})
    check_page(path, recordings)
    check_shown(rows[0].dimensions)
    rows = sorted(rows, key=lambda row: (row.start, row.end))  # turns overlap
    windows = {"window_seconds": _PART_SECONDS, "hop_seconds": _PART_SECONDS}
    samples = np.concatenate([part.samples for part in iter_windows(recordings[0], **windows)])

    def filled(sound: bytes | None) -> bytes:
        return _fill(rows, recordings[0], model, sound, samples).encode()

    silent = filled(None)
    sound = _encoded(samples, PAGE_BYTES - len(silent))
    write_atomic(Path(path), silent if sound is None else filled(sound))


def check_page(path: Path | str, recordings: Sequence[Path]) -> None:
    """Refuse, before anything is predicted, what no page can be made of.

    Raises:
        ConfigError: Another suffix than .html, or not one recording.
    """
    path = Path(path)
    if path.suffix != ".html":
        raise ConfigError(f"`--page` must end in .html, but is `{path.name}`.")
    if len(recordings) != 1:
        raise ConfigError(
            f"A page shows one recording, but there are {len(recordings)}. Name one file."
        )


def check_shown(dimensions: Iterable[str]) -> None:
    """Refuse, before anything is predicted, a model of `dimensions`.

    Raises:
        ConfigError: There are some: a page has bands of probabilities.
    """
    if names := ", ".join(dimensions):
        raise ConfigError(
            f"A page shows the probabilities of emotions, but this model predicts {names}: take "
            "its rows (spknorm predict, with --out)."
        )


def _fill(
    rows: Sequence[Prediction],
    recording: Path,
    model: str,
    sound: bytes | None,
    samples: Samples,
) -> str:
    seconds = len(samples) / SAMPLE_RATE
    edges = np.linspace(0, len(samples), min(_NUM_PEAKS, len(samples)) + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(samples), edges)  # the largest sample of each part
    peaks = np.round(255 * peaks / max(float(peaks.max()), 1e-9)).astype(np.uint8)
    classes = list(rows[0].probabilities)
    data: dict[str, Any] = {
        "seconds": round(seconds, 3),
        "classes": classes,
        "colors": [COLORS[place % len(COLORS)] for place in range(len(classes))],
        "peaks": base64.b64encode(peaks.tobytes()).decode(),
        "windows": [
            [round(row.start, 3), round(row.end, 3)]
            + [round(value, 4) for value in row.probabilities.values()]
            for row in rows
        ],
        "emotions": [row.emotion and classes.index(row.emotion) for row in rows],
        "speakers": [row.speaker for row in rows],
    }
    text, _ = fill(
        "page",
        clock=clock,
        name=printable(recording.name),
        model=model,
        rows=rows,
        classes=classes,
        colors=data["colors"],
        seconds=seconds,
        has_speakers=any(row.speaker for row in rows),
        sound=None if sound is None else base64.b64encode(sound).decode(),
        # No tag can end the block.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )
    return text


def fill(name: str, /, **values: Any) -> tuple[str, str]:
    """Return a page with its script, of the files of that name, and the SHA-256 of the script."""
    script = source_of(f"predict/{name}.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page(f"predict/{name}.html.j2", **values, script=script, digest=digest), digest


def clock(seconds: float) -> str:
    """Return a time as minutes:seconds.tenths, as in 2:07.5; whole seconds without tenths."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    whole, tenth = divmod(rest, 10)
    return f"{minutes}:{whole:02d}" + (f".{tenth}" if tenth else "")


def _encoded(samples: Samples, room: int) -> bytes | None:
    """Return Opus that takes at most `room` bytes as base64; None where that is too little."""
    bitrate = min(_GOOD_BITRATE, 0.75 * _AIM * room * 8 / 1000 * SAMPLE_RATE / len(samples))
    least, most = _BITRATES
    if bitrate < least:
        return None
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        np.clip(samples, -1, 1),
        SAMPLE_RATE,
        format="OGG",
        subtype="OPUS",
        compression_level=1 - (bitrate - least) / (most - least),
    )
    return encoded.getvalue()
