"""Audio as everything else sees it: float32, mono, 16 kHz, or one clear `AudioError`.

First come the kinds of bad files (faults), then what containers promise (chunks, streams,
containers), opening and decoding, and changes of rate (resampling); loading puts them together,
index remembers what headers said, and walking finds files.
"""

from spknorm.audio.decoding import LOUDEST as LOUDEST
from spknorm.audio.decoding import AudioInfo as AudioInfo
from spknorm.audio.decoding import read_info as read_info
from spknorm.audio.excerpt import Excerpt as Excerpt
from spknorm.audio.excerpt import Sound as Sound
from spknorm.audio.faults import AudioError as AudioError
from spknorm.audio.faults import printable as printable
from spknorm.audio.index import AudioIndex as AudioIndex
from spknorm.audio.loading import MIN_SAMPLES as MIN_SAMPLES
from spknorm.audio.loading import SILENT_BELOW as SILENT_BELOW
from spknorm.audio.loading import check_windows as check_windows
from spknorm.audio.loading import iter_parts as iter_parts
from spknorm.audio.loading import iter_windows as iter_windows
from spknorm.audio.loading import load_audio as load_audio
from spknorm.audio.resampling import SAMPLE_RATE as SAMPLE_RATE
from spknorm.audio.walking import Walk as Walk
