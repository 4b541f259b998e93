"""Corpora by name -> utterances: where they are looked for, and what is said if they are not there.

known/ has a row per corpus, one file each reads it; checks.py says whether it can serve.
"""

import importlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spknorm.corpora.columns import Utterances
from spknorm.corpora.known import CORPORA
from spknorm.corpora.known.corpus import Ask, Corpus
from spknorm.corpora.labels import labelled, word_of
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, MissingError
from spknorm.schema import DataConfig

logger = logging.getLogger(__name__)

_KEYS = {"emotion": "datarc", "speaker": "speaker_corpus"}


def read_corpus(config: Any, role: str) -> Sequence[Utterance]:
    """Return the utterances of a corpus that `downstream_expert` of a task names.

    The section of the role, `emotion` or `speaker`, says which corpus and where: `root` (None: what
    IEMOCAP_ROOT, RAVDESS_ROOT, ... says, or the manifest's folder), `meta_data` (IEMOCAP: folder
    with s3prl's fold JSON, whose order is kept; VoxCeleb1: the identification split list),
    `manifest`, `labels`. `demo`, made as `datarc` says, is a generated tree in IEMOCAP's layout for
    the role emotion, in VoxCeleb1's for the role speaker.

    Raises:
        ConfigError: The name or role is unknown, or a setting is missing or has no effect.
        MissingError: The corpus is not where it was looked for; the message says how to name it.
        DataError: It is there and cannot be read.
    """
    section = config.speaker_corpus if role == "speaker" else config.datarc
    name = section.corpus
    if name not in CORPORA or role not in _KEYS:
        raise ConfigError(
            f"`corpus` must be one of {', '.join(CORPORA)} with the role emotion or speaker, "
            f"but they are `{name}` and `{role}`."
        )
    corpus = CORPORA[name]
    _check_settings(corpus, role, section)
    root = root_of(name, role, section.root)
    read: Callable[[Ask], Sequence[Utterance]] = importlib.import_module(corpus.reader).read
    records = read(Ask(corpus, root, role, section, config.datarc))
    if corpus.compared and any(corpus.counts.values()):
        words = Counter(str(word_of(one)) for one in records)
        speakers = {one.speaker for one in records if one.speaker}
        if differs := corpus.differences(words, num_speakers=len(speakers)):
            logger.warning("This %s differs from the published one: %s", corpus.title, differs)
    if role == "speaker":
        spoken = Utterances.of(records)
        return spoken if name == "manifest" else _of_known_speakers(spoken, section.label, corpus)
    if name == "manifest" and section.labels == "auto":
        return records  # a manifest has four classes, and says so if it has others
    if section.targets == "dimensions":
        return records  # whatever their class
    return labelled(records, label_set(section))


def _of_known_speakers(records: Utterances, label: str, corpus: Corpus) -> Utterances:
    """Return the utterances whose speaker is known: `Unknown` is many people, and none of them."""
    codes, names = records.coded("speaker")
    known = records if label != "speaker" else records.take(codes != names.index(None))
    if len(known) < len(records):
        logger.info(
            "%d of %d utterances of %s have no known speaker and are drawn for no speaker head",
            len(records) - len(known), len(records), corpus.title,
        )  # fmt: skip
    return known


def label_set(data: DataConfig) -> str | Mapping[str, Mapping[str, str | None]]:
    """Return `datarc.labels` with the corpus' own habit in the place of `auto`."""
    return CORPORA[data.corpus].labels if data.labels == "auto" else data.labels


def root_of(name: str, role: str, given: Path | str | None) -> Path:
    """Return the folder of a corpus; the current one if it has no tree of its own.

    Raises:
        MissingError: It is not there; the message says where it was looked for and what to do.
    """
    title, variable = CORPORA[name].title, CORPORA[name].variable
    if variable is None:
        return Path()
    where, key = given or os.environ.get(variable), f"downstream_expert.{_KEYS[role]}"
    if where and Path(where).is_dir():
        return Path(where)
    looked = f"`{key}.root` is not set, nor is {variable}"
    if where:
        looked = f"{f'`{key}.root`' if given else variable} is {Path(where)}, which is not a folder"
    raise MissingError(
        f"The {role} corpus {title} was not found: {looked}.\n"
        "Say where it is in one of three ways:\n"
        f"  -o config.{key}.root=FOLDER on the command line\n"
        f"  {key}.root: FOLDER in the configuration file given by -c\n"
        f"  export {variable}=FOLDER in the environment\n"
        f"Or try the embedded demo: -o config.{key}.corpus=demo, or ./run_downstream.sh"
    )


def _check_settings(corpus: Corpus, role: str, section: Any) -> None:
    key = f"downstream_expert.{_KEYS[role]}"
    if corpus.name == "manifest" and section.manifest is None:
        raise ConfigError(
            f"The {role} corpus is a manifest, so `{key}.manifest` must name the .csv or .jsonl "
            "file."
        )
    for name, instead in (("manifest", "set `corpus: manifest`, or "), ("meta_data", "")):
        if name not in corpus.takes and getattr(section, name) is not None:
            raise ConfigError(
                f"`{key}.{name}` has no effect with the corpus `{corpus.name}`: {instead}leave it "
                "out."
            )
