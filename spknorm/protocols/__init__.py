"""Who trains, who validates, who tests: utterances in, the three parts of a fold out.

After the corpora in the flow.
"""

from spknorm.protocols.folds import (
    BASES,
    DEVS,
    NUM_DRAWS,
    PROTOCOLS,
    SAMPLES_PER_LABEL,
    TURNS,
    folds_of,
    make_split,
)
from spknorm.protocols.overlap import Split, check_split
from spknorm.protocols.parts import speakers_of

__all__ = [
    "BASES",
    "DEVS",
    "NUM_DRAWS",
    "PROTOCOLS",
    "SAMPLES_PER_LABEL",
    "TURNS",
    "Split",
    "check_split",
    "folds_of",
    "make_split",
    "speakers_of",
]
