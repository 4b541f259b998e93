"""Audio as everything else sees it: float32, mono, 16 kHz, or one clear `AudioError`.

First come the kinds of bad files (faults), then what containers promise (chunks, streams,
containers), opening and decoding, and changes of rate (resampling); loading puts them together,
index remembers what headers said, and walking finds files.
"""

from spknorm.audio.decoding import LOUDEST, AudioInfo, read_info
from spknorm.audio.excerpt import Excerpt, Sound
from spknorm.audio.faults import AudioError, printable
from spknorm.audio.index import AudioIndex
from spknorm.audio.loading import (
    MIN_SAMPLES,
    SILENT_BELOW,
    Window,
    check_windows,
    iter_parts,
    iter_windows,
    load_audio,
)
from spknorm.audio.resampling import SAMPLE_RATE
from spknorm.audio.walking import Walk

__all__ = [
    "LOUDEST",
    "MIN_SAMPLES",
    "SAMPLE_RATE",
    "SILENT_BELOW",
    "AudioError",
    "AudioIndex",
    "AudioInfo",
    "Excerpt",
    "Sound",
    "Walk",
    "Window",
    "check_windows",
    "iter_parts",
    "iter_windows",
    "load_audio",
    "printable",
    "read_info",
]
