"""Content that strangers write, near to what is valid, and tests that try much of it.

A hundred inputs per test by default; HYPOTHESIS_PROFILE=nightly tries over 100 000 in all.
"""

import functools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
PIECES = (
    b"\n",
    b"\t",
    b",",
    b'"',
    b"[",
    b"../",
    b"/",
    b"\0",
    b"\xff",
    b"\r",
    b"\xef\xbb\xbf",
    b" ",
)


@st.composite
def mutated(draw, content):
    """Valid content with a few places cut out, doubled or overwritten."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(result)))
        stop = min(len(result), start + draw(st.integers(0, 30)))
        piece = draw(
            st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(result[start:stop] * 2)
        )
        result[start:stop] = piece
    return bytes(result)


def content_like(valid):
    text = st.text(st.sampled_from('[]{}",:\t\n .-/0129aSesFM_impro'), max_size=200)
    return mutated(valid) | st.binary(max_size=300) | text.map(str.encode)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def fuzz(nightly, **inputs):
    """Like `given`, with so many inputs at night; counts them for `--fault-counts`."""

    def decorate(test):
        @functools.wraps(test)
        def counting(*arguments, **options):
            try:
                test(*arguments, **options)
            except Exception:
                counting.inputs += 1
                raise
            counting.inputs += 1  # but not where hypothesis stops before the input is drawn

        counting.inputs = 0
        drawn = settings(max_examples=nightly if NIGHTLY else 100)(given(**inputs)(counting))
        return pytest.mark.fault("any content")(drawn)

    return decorate
