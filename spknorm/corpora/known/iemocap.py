"""IEMOCAP's row. 2507 of its 10039 utterances have no label that raters agree on (xxx)."""

from types import MappingProxyType

from spknorm.corpora.known.corpus import Corpus

IEMOCAP = Corpus(
    name="iemocap",
    title="IEMOCAP",
    reader="spknorm.corpora.iemocap",
    variable="IEMOCAP_ROOT",
    roles=("emotion",),
    counts={
        "neu": 1708,
        "hap": 595,
        "exc": 1041,
        "ang": 1103,
        "sad": 1084,
        "fru": 1849,
        "sur": 107,
        "fea": 40,
        "dis": 2,
        "oth": 3,
    },
    num_speakers=10,
    num_utterances=10039,
    language="en",
    licence="a signed agreement; research only",
    source="University of Southern California (SAIL)",
    example="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
    scale=(1.0, 5.0),
    takes=("meta_data", "allow_outside"),
    compared=False,
)  # fmt: skip

COUNTS = MappingProxyType(
    {  # in the order of EMOTIONS
        "Session1": (384, 278, 229, 194),
        "Session2": (362, 327, 137, 197),
        "Session3": (320, 286, 240, 305),
        "Session4": (258, 303, 327, 143),
        "Session5": (384, 442, 170, 245),
    }
)
"""Utterances per session and class of the full corpus, 5531 together (Gat et al. 2022; SUPERB)."""
