"""Corpora -> utterances, whoever made them. The names below are loaded when they are asked for.

known/ is the table of all corpora; reading.py finds the one that is named and has it read;
labels.py says which classes are trained, checks.py whether the result can serve.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spknorm.corpora.checks import check_records as check_records
    from spknorm.corpora.checks import find_bad_audio as find_bad_audio
    from spknorm.corpora.checks import usable as usable
    from spknorm.corpora.coded import read_coded as read_coded
    from spknorm.corpora.folds import read_folds as read_folds
    from spknorm.corpora.folds import write_folds as write_folds
    from spknorm.corpora.iemocap import check_counts as check_counts
    from spknorm.corpora.iemocap import is_full as is_full
    from spknorm.corpora.iemocap import read_iemocap as read_iemocap
    from spknorm.corpora.known import CORPORA as CORPORA
    from spknorm.corpora.labels import classes_among as classes_among
    from spknorm.corpora.labels import classes_of as classes_of
    from spknorm.corpora.librispeech import read_librispeech as read_librispeech
    from spknorm.corpora.manifest import read_manifest as read_manifest
    from spknorm.corpora.reading import label_set as label_set
    from spknorm.corpora.reading import read_corpus as read_corpus
    from spknorm.corpora.reading import root_of as root_of
    from spknorm.corpora.records import EMOTIONS as EMOTIONS
    from spknorm.corpora.records import Utterance as Utterance
    from spknorm.corpora.voxceleb1 import read_voxceleb1 as read_voxceleb1

_PLACES = {
    "checks": ("check_records", "find_bad_audio", "usable"),
    "coded": ("read_coded",),
    "folds": ("read_folds", "write_folds"),
    "iemocap": ("check_counts", "is_full", "read_iemocap"),
    "known": ("CORPORA",),
    "labels": ("classes_among", "classes_of"),
    "librispeech": ("read_librispeech",),
    "manifest": ("read_manifest",),
    "reading": ("label_set", "read_corpus", "root_of"),
    "records": ("EMOTIONS", "Utterance"),
    "voxceleb1": ("read_voxceleb1",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name from its module: the settings import the table, which must not load them."""
    if name in _MODULES:
        module = importlib.import_module(f"spknorm.corpora.{_MODULES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
