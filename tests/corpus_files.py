"""Files of a corpus for tests of its reader: names without sound, tables, and the reader itself."""

import importlib
from pathlib import Path
from types import SimpleNamespace

from spknorm.corpora.known import CORPORA
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.reading import read_corpus
from spknorm.demo.corpus_trees import TREES
from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig


def touch(root, paths, content=b""):
    """Write files of one content, of which there may be a hundred thousand; return the folder."""
    made = set()
    for path in paths:
        place = root / path
        if place.parent not in made:
            place.parent.mkdir(parents=True, exist_ok=True)
            made.add(place.parent)
        with place.open("wb", buffering=0) as file:
            file.write(content)
    return root


def plant(root, corpus):
    """Write a tree of names and its tables, without sound; return the names."""
    names = list(TREES[corpus].names())
    touch(root, [name.path for name in names])
    for place, text in TREES[corpus].tables(names).items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8", newline="")
    return names


def write(root, place, *lines):
    """Write the lines of a table."""
    touch(root, [place], ("\n".join(lines) + "\n").encode())


def read_tree(root, corpus, role="emotion"):
    """Return what a corpus' own reader makes of a folder, before settings leave any of it out."""
    ask = Ask(CORPORA[corpus], Path(root), role, None, SimpleNamespace(targets="classes"))
    return importlib.import_module(ask.corpus.reader).read(ask)


def read(root, corpus, role="emotion", **settings):
    """Return what a run would read of a corpus."""
    if role == "speaker":
        section = SpeakerCorpusConfig(corpus=corpus, root=str(root))
        return read_corpus(ExpertConfig(speaker_corpus=section), role)
    data = DataConfig(corpus=corpus, root=str(root), **settings)
    return read_corpus(ExpertConfig(datarc=data), role)
