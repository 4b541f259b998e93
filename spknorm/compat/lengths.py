"""Utterances that are too short for an upstream are an error that names them."""

import functools
from collections.abc import Callable
from typing import Any

from spknorm.errors import DataError

MIN_SAMPLES = 400
"""Samples at 16 kHz that one frame of a HuBERT-like front end needs (25 ms)."""


def check_lengths(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return an upstream's call that refuses utterances under `MIN_SAMPLES`."""

    # Shorter ones crash the front end or, beside longer ones, come out as no frame and NaN.
    @functools.wraps(call)
    def checked(self: Any, wavs: Any, *args: Any, **options: Any) -> Any:
        for position, wav in enumerate(wavs):
            if len(wav) < MIN_SAMPLES:
                raise DataError(
                    f"Utterance {position} of a batch has {len(wav)} samples, but an upstream "
                    f"needs at least {MIN_SAMPLES} (25 ms at 16 kHz). "
                    "Leave such files out of the corpus."
                )
        return call(self, wavs, *args, **options)

    return checked
