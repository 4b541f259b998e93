"""Files of a corpus for tests of its reader: names without sound, tables, and the reader itself."""

import importlib
import os
from pathlib import Path
from types import SimpleNamespace

from spknorm.corpora.known import CORPORA
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.reading import read_corpus
from spknorm.demo.corpus_trees import TREES
from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig


def touch(root, paths, content=b""):
    """Write files of one content; return the folder."""
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root


def link_many(root, paths, content=b""):
    """Write up to a hundred thousand files of one content, to be read only; return the folder.

    All are names of one file: another file takes some filesystems 30 times as long.
    """
    made, first = set(), ""
    for number, path in enumerate(paths):
        place = f"{root}/{path}"
        folder = place.rpartition("/")[0]
        if folder not in made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        if number % 50_000:  # ext4 has a limit of 65 000
            os.link(first, place)
        else:
            Path(place).write_bytes(content)
            first = place
    return root


def plant(root, corpus):
    """Write a tree of names and its tables, without sound; return the names."""
    names = list(TREES[corpus].names())
    link_many(root, [name.path for name in names])
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
        section = SpeakerCorpusConfig(corpus=corpus, root=str(root), **settings)
        return read_corpus(ExpertConfig(speaker_corpus=section), role)
    data = DataConfig(corpus=corpus, root=str(root), **settings)
    return read_corpus(ExpertConfig(datarc=data), role)
