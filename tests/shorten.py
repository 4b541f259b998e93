"""A little encoder of Shorten 2, and SPHERE files as LDC ships them, for tests."""

import numpy as np

_BLOCK = 256
_DIFF0, _QUIT, _BLOCKSIZE = 0, 4, 5


def sphere(samples, rate=16000):
    """Return a SPHERE file with whole numbers (L,) of 16 bits, packed by shorten."""
    lines = (
        "NIST_1A", "   1024", f"sample_count -i {len(samples)}", "sample_n_bytes -i 2",
        "channel_count -i 1", "sample_byte_format -s2 10", f"sample_rate -i {rate}",
        "sample_coding -s26 pcm,embedded-shorten-v2.00", "end_head", "",
    )  # fmt: skip
    return "\n".join(lines).encode().ljust(1024, b"\n") + _shorten(samples)


def _shorten(samples):
    bits: list[int] = []

    def unsigned(value, width):
        bits.extend([0] * (value >> width) + [1])
        bits.extend(value >> place & 1 for place in reversed(range(width)))

    def number(value):
        unsigned(value.bit_length(), 2)
        unsigned(value, value.bit_length())

    for value in (3, 1, _BLOCK, 0, 0, 0):  # 16 bits, channels, block, and three that are not used
        number(value)
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK]
        if len(block) != _BLOCK:
            unsigned(_BLOCKSIZE, 2)
            number(len(block))
        width = int(np.log2(np.abs(block).mean() + 1))
        unsigned(_DIFF0, 2)
        unsigned(width, 3)
        for value in block.tolist():
            unsigned(~value << 1 | 1 if value < 0 else value << 1, width + 1)
    unsigned(_QUIT, 2)
    return b"ajkg\2" + np.packbits(bits + [0] * (-len(bits) % 32)).tobytes()
