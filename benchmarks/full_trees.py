"""Full-size trees of names of all emotion corpora: counts, classes and speakers as published.

`python benchmarks/full_trees.py [CORPUS ...]` writes each corpus' tree of empty files and its
tables, reads it as a run would, and compares what is read with the table of corpora. Prints a JSON
line per corpus and one for all, with the seconds of reading alone; the status is 1 if anything
differs.
"""

import json
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spknorm.corpora.known import CORPORA
from spknorm.corpora.labels import word_of
from spknorm.corpora.reading import read_corpus
from spknorm.demo.corpus_trees import TREES
from spknorm.schema import DataConfig, ExpertConfig

LEFT_OUT = {"crema_d": 1, "aesdd": 1, "meld": 4, "emorynlp": 3, "enterface": 6}
"""Known damage, which readers leave out."""
FURTHER = {"asvp_esd": True, "msp_improv": True}
"""Words of which no count is published are there, too."""
BY_RELEASE = ("biic_podcast", "cameo")
"""Nothing is published of them that a tree of names could be held against."""


def main() -> int:
    """Write, read and compare."""
    logging.disable(logging.WARNING)
    total, failed, num_corpora = 0.0, [], 0
    for name, tree in TREES.items():
        if "emotion" not in CORPORA[name].roles or name in BY_RELEASE:
            continue
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            names = list(tree.names())
            plant(Path(folder), names, tree.tables(names))
            start = time.perf_counter()
            data = DataConfig(corpus=name, root=folder, labels="all")
            records = read_corpus(ExpertConfig(datarc=data), "emotion")
            seconds = time.perf_counter() - start
        total, num_corpora = total + seconds, num_corpora + 1
        words = Counter(str(word_of(one)) for one in records)
        speakers = {one.speaker for one in records if one.speaker}
        expected = CORPORA[name].counts if any(CORPORA[name].counts.values()) else {}
        lost = sum(count - words[word] for word, count in expected.items())
        right = (
            lost == LEFT_OUT.get(name, 0)
            and all(words[word] <= count for word, count in expected.items())
            and CORPORA[name].num_speakers in (None, len(speakers))
            and (FURTHER.get(name) or set(words) <= set(CORPORA[name].counts))
        )
        if not right:
            failed.append(name)
        row = {"corpus": name, "read": len(records), "speakers": len(speakers),
               "damaged": lost, "as_published": right, "seconds": round(seconds, 2)}  # fmt: skip
        print(json.dumps(row), flush=True)
    print(json.dumps({"corpora": num_corpora, "seconds": round(total, 1), "differing": failed}))
    return 1 if failed else 0


def plant(root: Path, names: Sequence[Any], tables: Mapping[str, str]) -> None:
    """Write empty recordings and the tables."""
    for folder in {(root / name.path).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name.path).touch()
    for place, text in tables.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    sys.exit(main())
