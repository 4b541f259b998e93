"""The corpora by name: one row each, in one table. Nothing here reads a recording.

A new corpus is a row of corpora.yaml and, where its file names do not say everything, a file with
its reader. The settings take their names from this table, so that it comes before `spknorm.schema`;
words.py says which words are which classes.
"""

from pathlib import Path
from typing import Any

import yaml

from spknorm.corpora.known.corpus import Corpus
from spknorm.corpora.known.layout import coded, numbered

_TEXTS = {"counts": numbered, "words": coded}


def _corpus(name: str, row: dict[str, Any]) -> Corpus:
    module = row.pop("reader", "coded" if "names" in row else name)
    usual = {"variable": f"{name.upper()}_ROOT", "compared": "names" not in row}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else _TEXTS.get(key, lambda same: same)(value)
        for key, value in {**usual, **row}.items()
    }
    return Corpus(name=name, reader=f"spknorm.corpora.{module}", **values)


CORPORA: dict[str, Corpus] = {
    name: _corpus(name, row)
    for name, row in yaml.load(
        Path(__file__).with_name("corpora.yaml").read_text(encoding="utf-8"),
        Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),
    ).items()
}
"""Every corpus by its name."""


def names_for(role: str) -> tuple[str, ...]:
    """Return the names of the corpora that can serve as `emotion` or `speaker`."""
    return tuple(name for name, one in CORPORA.items() if role in one.roles)
