"""Who trains, who validates, who tests: utterances in, the three parts of a fold out.

After the corpora in the flow.
"""

from spknorm.protocols.cross import cross_split, in_common, renamed
from spknorm.protocols.folds import (
    NUM_DRAWS,
    PROTOCOLS,
    SAMPLES_PER_LABEL,
    check_protocol,
    divide,
    folds_of,
)
from spknorm.protocols.overlap import Split, check_split
from spknorm.protocols.owners import TITLES, Splitting
from spknorm.protocols.parts import speakers_of

__all__ = ["NUM_DRAWS", "PROTOCOLS", "SAMPLES_PER_LABEL", "TITLES", "Split", "Splitting",
           "check_protocol", "check_split", "cross_split", "divide", "folds_of", "in_common",
           "renamed", "speakers_of"]  # fmt: skip
