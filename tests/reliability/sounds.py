"""Noise as a file of any container, and what is said of it."""

import numpy as np
import pytest
import soundfile

from spknorm.audio import AudioError, read_info

NOISE = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)


def written(path, form, subtype, **options):
    rate = 8000 if "GSM" in subtype else 16000
    soundfile.write(path, NOISE, rate, format=form, subtype=subtype, **options)
    return path.read_bytes()


def kind_of(path):
    with pytest.raises(AudioError) as error:
        read_info(path)
    return error.value.kind
