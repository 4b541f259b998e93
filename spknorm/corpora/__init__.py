"""Corpora by name -> utterances: where they are looked for, and what is said if they are not there.

One file per corpus reads it; checks.py says whether it can serve.
"""

import logging
import os
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from spknorm.corpora.checks import (
    BadAudio,
    check_records,
    find_bad_audio,
    usable,
)
from spknorm.corpora.folds import read_folds, write_folds
from spknorm.corpora.iemocap import check_counts, is_full, read_iemocap
from spknorm.corpora.librispeech import read_librispeech
from spknorm.corpora.manifest import read_manifest
from spknorm.corpora.records import EMOTIONS, Utterance
from spknorm.corpora.voxceleb1 import read_voxceleb1
from spknorm.errors import ConfigError, MissingError

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "TREES",
    "BadAudio",
    "Utterance",
    "check_counts",
    "check_records",
    "find_bad_audio",
    "is_full",
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


class _Where(NamedTuple):
    title: str
    variable: str


CORPORA = ("iemocap", "voxceleb1", "librispeech", "manifest", "demo")
TREES = MappingProxyType(
    {
        "iemocap": _Where("IEMOCAP", "IEMOCAP_ROOT"),
        "voxceleb1": _Where("VoxCeleb1", "VOXCELEB1_ROOT"),
        "librispeech": _Where("LibriSpeech", "LIBRISPEECH_ROOT"),
    }
)
_KEYS = MappingProxyType({"emotion": "datarc", "speaker": "speaker_corpus"})


def read_corpus(
    name: str,
    *,
    role: str = "emotion",
    root: Path | str | None = None,
    meta_data: Path | str | None = None,
    fold: str | None = None,
    manifest: Path | str | None = None,
    allow_outside: bool = False,
    demo_rho: float = 0.8,
    demo_seed: int = 0,
) -> list[Utterance]:
    """Return the utterances of a corpus; `check_records` and `usable` say what they are good for.

    Args:
        name: One of `CORPORA`; `demo` is a generated tree in IEMOCAP's layout for the role
            emotion, in VoxCeleb1's for the role speaker.
        role: `emotion` or `speaker`: where in the configuration the corpus is named.
        root: The corpus' folder; None: what IEMOCAP_ROOT, VOXCELEB1_ROOT or LIBRISPEECH_ROOT
            says, or the manifest's folder.
        meta_data: IEMOCAP: folder with s3prl's fold JSON, whose order is kept (training pool,
            then test). VoxCeleb1: the identification split list.
        fold: Which fold of the JSON.
        manifest: The table, for `manifest`.
        allow_outside: Accept listed paths that lead out of the root.
        demo_rho: Confounding in the demo.
        demo_seed: Seed of the demo.

    Raises:
        ConfigError: The name or role is unknown, or a setting is missing or has no effect.
        MissingError: The corpus is not where it was looked for; the message says how to name it.
        DataError: It is there and cannot be read.
    """
    if name not in CORPORA or role not in _KEYS:
        raise ConfigError(
            f"`corpus` must be one of {', '.join(CORPORA)} with the role emotion or speaker, "
            f"but they are `{name}` and `{role}`."
        )
    if name == "manifest":
        if manifest is None:
            raise ConfigError(
                f"The {role} corpus is a manifest, so `downstream_expert.{_KEYS[role]}.manifest` "
                "must name the .csv or .jsonl file."
            )
        return read_manifest(manifest, root=root, allow_outside=allow_outside)
    if manifest is not None:
        raise ConfigError(
            f"`downstream_expert.{_KEYS[role]}.manifest` has no effect with the corpus `{name}`: "
            "set `corpus: manifest`, or leave it out."
        )
    if name == "demo":
        return _read_demo(role, rho=demo_rho, seed=demo_seed)
    found = root_of(name, role, root)
    if name == "voxceleb1":
        return read_voxceleb1(found, split_file=meta_data)
    if name == "librispeech":
        return read_librispeech(found)
    if meta_data is None:
        return _counted(read_iemocap(found))
    if fold is None:
        raise ConfigError("With `meta_data`, `test_fold` must say which of its folds to read.")
    return _counted(read_folds(meta_data, fold, found, allow_outside=allow_outside))


def _read_demo(role: str, *, rho: float, seed: int) -> list[Utterance]:
    from spknorm.demo import make_demo_corpora

    roots = make_demo_corpora(rho=rho, seed=seed)
    if role == "emotion":
        return read_iemocap(roots.iemocap)
    return read_voxceleb1(roots.voxceleb1, split_file=roots.voxceleb1_split)


def _counted(records: list[Utterance]) -> list[Utterance]:
    differences = check_counts(records)
    if differences:
        logger.warning(
            "This IEMOCAP differs from the corpus of the literature (5531 utterances), so results "
            "do not compare with it: %s",
            "; ".join(differences),
        )
    return records


def root_of(name: str, role: str, given: Path | str | None) -> Path:
    """Return the folder of IEMOCAP, VoxCeleb1 or LibriSpeech.

    Raises:
        MissingError: It is not there; the message says where it was looked for and what to do.
    """
    title, variable = TREES[name]
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
