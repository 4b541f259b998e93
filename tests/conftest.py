"""Fixtures that several test files share: tiny upstreams, built once per session."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import tiny_upstreams
from hypothesis import settings

# HYPOTHESIS_PROFILE=nightly makes reliability/test_fuzz_readers.py try over 100 000 inputs in all:
# most where a reader is cheap.
settings.register_profile("short", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory):
    """Path of a random HuBERT in s3prl's converted format (2 layers of 32, stride 320)."""
    import spknorm.compat  # noqa: F401

    return tiny_upstreams.make_hubert(tmp_path_factory.mktemp("hubert") / "tiny_hubert.pt")


@pytest.fixture
def tone():
    """A function that returns `seconds` of a tone with a little noise, float32 at 16 kHz."""

    def make(seconds: float, *, pitch: float = 200.0, seed: int = 0) -> np.ndarray:
        time = np.arange(int(seconds * 16000)) / 16000
        noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
        return (0.3 * np.sin(2 * np.pi * pitch * time) + noise).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def tiny_corpora(tmp_path_factory):
    """Folder with a small IEMOCAP and VoxCeleb1 of tones, for runs of `tiny_runs`."""
    import tiny_runs

    return tiny_runs.make_corpora(tmp_path_factory.mktemp("corpora"))
