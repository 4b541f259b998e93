"""What EmoBox's published folds share, from a table of them: the rows of docs/splits.md.

`python benchmarks/emobox_leaks.py FOLDS.tsv[.gz]` with the columns corpus, fold, part, id, speaker
and emotion. Each corpus is written as EmoBox's own folder of lists and read by that door; names
alone are compared. A list that holds test parts only (ESD) is taken to train on the rest.
Prints a row of Markdown per corpus, and what is said of IEMOCAP.
"""

import csv
import gzip
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from spknorm.corpora.doors import read_list
from spknorm.protocols import Split
from spknorm.protocols.leaks import count_shared, named_by_dialogue


def main(file: Path) -> None:
    """Count, corpus by corpus."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            rows[row["corpus"]].append(row)
    print("| corpus | folds | test speakers who also train | test utterances by them |")
    print("|---|---|---|---|")
    for corpus, own in sorted(rows.items()):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), corpus, own)
            records = read_list(folder, by_part=True)
        folds: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for one in records:
            folds[str(one.label("fold"))][str(one.split)].append(one)
        everything = {one.id: one for one in records}
        worst, total, tested = (0, 0), 0, 0
        for name, parts in sorted(folds.items()):
            if not parts["train"]:
                held = {one.id for one in parts["test"]}
                parts["train"] = [one for key, one in everything.items() if key not in held]
            split = Split(*(tuple(parts[part]) for part in ("train", "dev", "test")))
            fold = count_shared(name, split, content=False)
            tested += len(split.test)
            known = [one for one in fold.shared if (one.what, one.first) == ("speakers", "train")]
            counted = next((one for one in known if one.second == "test"), None)
            if counted is not None:
                worst = max(worst, (counted.number, counted.of))
                total += counted.utterances
        shared = f"**{worst[0]} of {worst[1]}**" if worst[0] else "none"
        print(f"| {corpus} | {len(folds)} | {shared} | {total} of {tested} |", flush=True)
        named, wrong = named_by_dialogue(records)
        if named:
            print(
                f"(of {named} utterances of {corpus} the speaker is the dialogue's prefix: {wrong} "
                "are wrong)"
            )


def write(folder: Path, corpus: str, rows: list[dict[str, str]]) -> None:
    """Write a corpus' rows as EmoBox's lists, with who speaks in data.seg.wrd.stm."""
    lists: dict[str, list[str]] = defaultdict(list)
    speakers = {}
    for row in rows:
        content = {"key": row["id"], "dataset": corpus, "wav": f"{row['id']}.wav"}
        name = f"{row['fold']}/{corpus}_{row['part']}_{row['fold']}.jsonl"
        lists[name].append(json.dumps({**content, "emo": row["emotion"]}))
        speakers[row["id"]] = row["speaker"]
    for name, lines in lists.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n")
    stm = "\n".join(f"{key} 1 x 0 1 <spk={name}>" for key, name in speakers.items())
    (folder / "data.seg.wrd.stm").write_text(stm + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
