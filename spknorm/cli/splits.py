"""`spknorm splits`: what train, dev and test share, of any corpus, protocol or list."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from spknorm.cli.parsing import Command, flag, option
from spknorm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from spknorm.corpora.records import Utterance
    from spknorm.protocols import Split
    from spknorm.protocols.leaks import Fold
    from spknorm.schema import DataConfig

_PARTS = ("train", "dev", "test")


def run(args: argparse.Namespace) -> int:
    """Print a table per corpus; the status is 0, or 3 with --strict where something leaks."""
    if args.groups < 2:
        raise ConfigError(f"`--groups` must be 2 or more, but is `{args.groups}`.")
    from spknorm.files import write_atomic, write_json
    from spknorm.protocols.leaks import count_shared, named_by_dialogue
    from spknorm.report.tables import page

    if args.names and args.near:
        raise ConfigError("--names reads no file and --near decodes all: leave one of them out.")
    found: dict[str, list[Fold]] = {}
    remarks: dict[str, str] = {}
    for name in args.of:
        records = _records(name, args)
        folds = [
            count_shared(fold, split, content=not args.names, near=args.near)
            for fold, split in _folds(name, records, args)
        ]
        found[name] = folds
        print("\n".join(_table(name, folds)))
        named, wrong = named_by_dialogue(records)
        if named:
            remarks[name] = (
                f"of {named} utterances the speaker is the prefix of IEMOCAP's dialogue, not who "
                f"speaks: {wrong} are wrong"
            )
            print(f"  {remarks[name]}")
    if args.json is not None:
        write_json(
            args.json, {name: [one.plain() for one in folds] for name, folds in found.items()}
        )
    if args.page is not None:
        text = page("report/splits.html.j2", found=found, remarks=remarks)
        write_atomic(args.page, f"{text}\n")
    leaks = any(fold.leaks for folds in found.values() for fold in folds)
    return DataError.exit_code if args.strict and leaks else 0


def _records(name: str, args: argparse.Namespace) -> "list[Utterance]":
    from spknorm.corpora.doors import read_list
    from spknorm.corpora.known import CORPORA
    from spknorm.corpora.reading import read_corpus
    from spknorm.schema import DataConfig, ExpertConfig

    is_list = Path(name).suffix.lower() in (".csv", ".jsonl") or Path(name).exists()
    if is_list and name not in CORPORA:
        return read_list(name, root=args.root, by_part=True, allow_outside=True)
    if name not in CORPORA or name == "manifest":
        known = ", ".join(key for key in CORPORA if key != "manifest")
        raise ConfigError(
            f"`{name}` is neither a list (a .csv or .jsonl file, a folder) nor one of {known}."
        )
    root = None if args.root is None else os.fspath(args.root)
    data = DataConfig(corpus=name, root=root, labels="all")
    return list(read_corpus(ExpertConfig(datarc=data), "emotion"))


def _folds(
    name: str, records: "list[Utterance]", args: argparse.Namespace
) -> "Iterator[tuple[str, Split]]":
    from spknorm.protocols import Split, divide
    from spknorm.protocols.overlap import warn_of_twins
    from spknorm.schema import DataConfig, resolved_dev

    if args.protocol is not None:
        listed = Path(name).suffix.lower() in (".csv", ".jsonl")
        data = DataConfig(
            corpus="manifest" if listed else name,
            protocol=args.protocol,
            groups=args.groups,
            unseen=args.unseen,
            fold_lists=args.fold_lists,
            allow_leak=True,  # it is what is counted here
        )
        dev = resolved_dev(args.dev, protocol=data.protocol, base=data.base, corpus=data.corpus)
        for fold in _names_of_folds(records, data):
            yield f"{data.protocol} {fold}", divide(records, data, fold=fold, dev=dev, seed=0)[0]
        return
    without = [one.id for one in records if one.split is None]
    if without:
        raise ConfigError(
            f"{name} does not say who trains and who tests ({len(without)} utterances without "
            "`split`): name a --protocol."
        )
    by_fold: dict[str, dict[str, list[Utterance]]] = {}
    for one in records:
        label = one.label("fold") or "split"
        by_fold.setdefault(label, {part: [] for part in _PARTS})[str(one.split)].append(one)
    for fold_name, parts in by_fold.items():
        split = Split(*(tuple(parts[part]) for part in _PARTS))
        warn_of_twins(split)
        yield fold_name, split


def _names_of_folds(records: "list[Utterance]", data: "DataConfig") -> tuple[str, ...]:
    from spknorm.protocols import folds_of, speakers_of

    if known := folds_of(data):
        return known
    if data.protocol == "loso":
        count = len(speakers_of(records, "The protocol loso"))
    elif data.protocol == "emobox":
        count = len([*Path(data.fold_lists or "").glob("fold_*")]) or 1
    else:
        count = len({one.part for one in records if one.split == "test"}) or 1
    return tuple(f"fold{place}" for place in range(1, count + 1))


def _table(name: str, folds: "list[Fold]") -> Iterator[str]:
    yield name
    for fold in folds:
        sizes = ", ".join(f"{count} {part}" for part, count in fold.utterances.items())
        yield f"  {fold.name}: {sizes}" + ("" if fold.leaks else "; no leak found")
        if balance := _balance(fold):
            yield f"    classes in {'/'.join(_PARTS)}: {balance}"
        for one in fold.shared:
            if one.number:
                examples = ", ".join(one.examples) + (", ..." if one.number > 5 else "")
                mark = "LEAK " if one.is_leak else ""
                yield (
                    f"    {mark}{one.number} of {one.of} {one.what} of {one.second} are in "
                    f"{one.first} ({one.utterances} utterances): {examples}"
                )
        if fold.unread:
            yield f"    {fold.unread} files are not there, so their content is not compared"
        if fold.undecoded:
            yield f"    {fold.undecoded} files cannot be decoded, so they are not compared by ear"


def _balance(fold: "Fold") -> str:
    """Return `neu 40/5/10, hap 38/4/12`; nothing where nobody's emotion is known."""
    classes = {name: None for part in _PARTS for name in fold.classes.get(part, {})}
    if set(classes) <= {"None"}:
        return ""
    counts = (
        f"{'without' if name == 'None' else name} "
        f"{'/'.join(str(fold.classes.get(part, {}).get(name, 0)) for part in _PARTS)}"
        for name in sorted(classes)
    )
    return ", ".join(counts)


COMMAND = Command(
    "count speakers, sentences and recordings that train, dev and test share",
    "example: spknorm splits list.csv --protocol loso-group --groups 4 --strict",
    (
        option(
            "of",
            "a list with a column `split` (and `fold`, if there are several), of ours or of "
            "EmoBox, audformat, Kaldi, nkululeko or Hugging Face; or a corpus",
            "FILE_OR_CORPUS",
            nargs="+",
        ),
        option(
            "--protocol",
            "si5, si10, loso, loso-group, sd, emosuperb, audb, emobox or official "
            "(default: the split that is given)",
        ),
        option("--groups", "of loso-group, or of sentences (default: 5)", "N", default=5),
        option(
            "--unseen",
            "what of test is not in training (default: speakers)",
            default="speakers",
            choices=("speakers", "sentences", "both"),
        ),
        option("--fold-lists", "emobox: the folder with fold_1, fold_2, ...", "DIR", type=str),
        option(
            "--dev",
            "superb, speaker_disjoint or given (default: what a run does on that corpus)",
            default="auto",
        ),
        option("--root", "the corpus' folder, or that of the manifest's paths", "DIR"),
        flag("--names", "compare names alone, without reading a file"),
        flag("--near", "decode every file, to find copies that were encoded anew"),
        option("--page", "also write all of it as an HTML page", "FILE", type=Path),
        option("--json", "also write all of it as JSON", "FILE", type=Path),
        flag("--strict", "end with status 3 if something leaks from training into test"),
    ),
    run,
)
