"""Corpora by name -> utterances: where they are looked for, and what is said if they are not there.

One file per corpus reads it; checks.py says whether it can serve.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from spknorm.corpora.checks import (
    BadAudio,
    check_records,
    find_bad_audio,
    usable,
)
from spknorm.corpora.coded import read_coded
from spknorm.corpora.folds import read_folds, write_folds
from spknorm.corpora.iemocap import check_counts, is_full, read_iemocap
from spknorm.corpora.labels import class_of, classes_among, classes_of, labelled
from spknorm.corpora.layouts import LAYOUTS
from spknorm.corpora.librispeech import read_librispeech
from spknorm.corpora.manifest import read_manifest
from spknorm.corpora.records import EMOTIONS, Utterance
from spknorm.corpora.voxceleb1 import read_voxceleb1
from spknorm.errors import ConfigError, MissingError
from spknorm.schema import DataConfig, SpeakerCorpusConfig

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "TREES",
    "BadAudio",
    "Corpus",
    "Utterance",
    "check_counts",
    "check_records",
    "classes_among",
    "classes_of",
    "find_bad_audio",
    "is_full",
    "label_set",
    "read_coded",
    "read_corpus",
    "read_folds",
    "read_iemocap",
    "read_librispeech",
    "read_manifest",
    "read_voxceleb1",
    "root_of",
    "usable",
    "write_folds",
]

logger = logging.getLogger(__name__)


class Corpus(NamedTuple):
    """A corpus by name.

    Attributes:
        title: As people call it.
        variable: Of the environment, where its root may be said; None: it has no tree of its own.
        read: From its section, the role and the whole `downstream_expert` to utterances.
        labels: Its habit, what `datarc.labels: auto` means: `four` or `all`.
    """

    title: str
    variable: str | None
    read: "Callable[[Any, str, Sections], list[Utterance]]"
    labels: str = "four"


class Sections(Protocol):
    """What names corpora: `downstream_expert` of a task.

    `datarc` says what demo is made, and for the role emotion which corpus and fold.
    """

    @property
    def datarc(self) -> Any:
        """The emotion corpus."""

    @property
    def speaker_corpus(self) -> SpeakerCorpusConfig:
        """The speaker corpus."""


_KEYS = MappingProxyType({"emotion": "datarc", "speaker": "speaker_corpus"})


def read_corpus(config: Sections, role: str) -> list[Utterance]:
    """Return the utterances of a corpus; `check_records` and `usable` say what they are good for.

    Args:
        config: `downstream_expert`. The section of the role says which corpus and where: `root`
            (None: what IEMOCAP_ROOT, RAVDESS_ROOT, ... says, or the manifest's folder),
            `meta_data` (IEMOCAP: folder with s3prl's fold JSON, whose order is kept,
            training pool, then test; VoxCeleb1: the identification split list), `test_fold`
            (which fold of the JSON), `manifest`, `allow_outside`, `labels` (which classes of
            the emotion corpus are taken). `demo` is a generated tree in
            IEMOCAP's layout for the role emotion, in VoxCeleb1's for the role speaker.
        role: `emotion` or `speaker`.

    Raises:
        ConfigError: The name or role is unknown, or a setting is missing or has no effect.
        MissingError: The corpus is not where it was looked for; the message says how to name it.
        DataError: It is there and cannot be read.
    """
    section = getattr(config, _KEYS[role]) if role in _KEYS else config.datarc
    name = section.corpus
    if name not in CORPORA or role not in _KEYS:
        raise ConfigError(
            f"`corpus` must be one of {', '.join(CORPORA)} with the role emotion or speaker, "
            f"but they are `{name}` and `{role}`."
        )
    if name == "manifest" and section.manifest is None:
        raise ConfigError(
            f"The {role} corpus is a manifest, so `downstream_expert.{_KEYS[role]}.manifest` "
            "must name the .csv or .jsonl file."
        )
    if name != "manifest" and section.manifest is not None:
        raise ConfigError(
            f"`downstream_expert.{_KEYS[role]}.manifest` has no effect with the corpus `{name}`: "
            "set `corpus: manifest`, or leave it out."
        )
    records = CORPORA[name].read(section, role, config)
    if role == "speaker" or (name == "manifest" and section.labels == "auto"):
        return records  # a manifest has four classes, and says so if it has others
    return labelled(records, label_set(section))


def label_set(data: DataConfig) -> str | Mapping[str, Mapping[str, str | None]]:
    """Return `datarc.labels` with the corpus' own habit in the place of `auto`."""
    return CORPORA[data.corpus].labels if data.labels == "auto" else data.labels


def _read_manifest(section: Any, role: str, config: Sections) -> list[Utterance]:
    return read_manifest(section.manifest, root=section.root, allow_outside=section.allow_outside)


def _read_iemocap(section: Any, role: str, config: Sections) -> list[Utterance]:
    root = root_of("iemocap", role, section.root)
    if section.meta_data is None:
        return _counted(read_iemocap(root, all_words=_all_words(section)), section)
    fold = section.test_fold
    if fold is None:
        raise ConfigError("With `meta_data`, `test_fold` must say which of its folds to read.")
    records = read_folds(section.meta_data, fold, root, allow_outside=section.allow_outside)
    return _counted(records, section)


def _read_voxceleb1(section: Any, role: str, config: Sections) -> list[Utterance]:
    root = root_of("voxceleb1", role, section.root)
    return read_voxceleb1(root, split_file=section.meta_data)


def _read_librispeech(section: Any, role: str, config: Sections) -> list[Utterance]:
    return read_librispeech(root_of("librispeech", role, section.root))


def _read_coded(section: Any, role: str, config: Sections) -> list[Utterance]:
    if section.meta_data is not None:
        raise ConfigError(
            f"`downstream_expert.{_KEYS[role]}.meta_data` has no effect with the corpus "
            f"`{section.corpus}`: leave it out."
        )
    return read_coded(root_of(section.corpus, role, section.root), section.corpus)


def _read_demo(section: Any, role: str, config: Sections) -> list[Utterance]:
    from spknorm.demo import make_demo_corpora

    roots = make_demo_corpora(rho=config.datarc.demo_rho, seed=config.datarc.demo_seed)
    if role == "emotion":
        return read_iemocap(roots.iemocap, all_words=_all_words(config.datarc))
    return read_voxceleb1(roots.voxceleb1, split_file=roots.voxceleb1_split)


def _habit(words: Iterable[str]) -> str:
    return "four" if set(EMOTIONS) <= {class_of(word) for word in words} else "all"


CORPORA: Mapping[str, Corpus] = MappingProxyType(
    {
        "iemocap": Corpus("IEMOCAP", "IEMOCAP_ROOT", _read_iemocap),
        **{
            key: Corpus(one.title, f"{key.upper()}_ROOT", _read_coded, _habit(one.words.values()))
            for key, one in LAYOUTS.items()
        },
        "voxceleb1": Corpus("VoxCeleb1", "VOXCELEB1_ROOT", _read_voxceleb1),
        "librispeech": Corpus("LibriSpeech", "LIBRISPEECH_ROOT", _read_librispeech),
        "manifest": Corpus("a manifest", None, _read_manifest),
        "demo": Corpus("the demo", None, _read_demo),
    }
)
TREES = tuple(name for name, corpus in CORPORA.items() if corpus.variable is not None)
"""Corpora whose root has to be said."""


def _all_words(data: DataConfig) -> bool:
    return label_set(data) != "four"


def _counted(records: list[Utterance], data: DataConfig) -> list[Utterance]:
    differences = check_counts(records) if label_set(data) == "four" else []
    if differences:
        logger.warning(
            "This IEMOCAP differs from the corpus of the literature (5531 utterances), so results "
            "do not compare with it: %s",
            "; ".join(differences),
        )
    return records


def root_of(name: str, role: str, given: Path | str | None) -> Path:
    """Return the folder of a corpus of `TREES`.

    Raises:
        MissingError: It is not there; the message says where it was looked for and what to do.
    """
    title, variable = CORPORA[name].title, CORPORA[name].variable
    assert variable is not None
    where = Path(given or os.environ.get(variable) or "")
    if (given or os.environ.get(variable)) and where.is_dir():
        return where
    key = f"downstream_expert.{_KEYS[role]}"
    if given:
        looked = f"`{key}.root` is {given}, which is not a folder"
    elif os.environ.get(variable):
        looked = f"{variable} is {where}, which is not a folder"
    else:
        looked = f"`{key}.root` is not set, nor is {variable}"
    raise MissingError(
        f"The {role} corpus {title} was not found: {looked}.\n"
        "Say where it is in one of three ways:\n"
        f"  -o config.{key}.root=FOLDER on the command line\n"
        f"  {key}.root: FOLDER in the configuration file given by -c\n"
        f"  export {variable}=FOLDER in the environment\n"
        f"Or try the embedded demo: -o config.{key}.corpus=demo, or ./run_downstream.sh"
    )
