"""Audio as everything else sees it: float32, mono, 16 kHz, or one clear `AudioError`.

First come the kinds of bad files (faults), then containers (headers), decoding and changes of rate
(resampling); loading puts them together, and index remembers what headers said.
"""

from spknorm.audio.decoding import AudioInfo, read_info
from spknorm.audio.faults import AudioError
from spknorm.audio.index import AudioIndex
from spknorm.audio.loading import MIN_SAMPLES, Window, iter_windows, load_audio
from spknorm.audio.resampling import SAMPLE_RATE

__all__ = [
    "MIN_SAMPLES",
    "SAMPLE_RATE",
    "AudioError",
    "AudioIndex",
    "AudioInfo",
    "Window",
    "iter_windows",
    "load_audio",
    "read_info",
]
