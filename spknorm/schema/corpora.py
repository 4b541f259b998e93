"""What a run trains on: the emotion corpus and the speaker corpus."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from spknorm.corpora.known import names_for
from spknorm.schema.marks import (
    ABOVE_0,
    CLASSES,
    CROSS,
    DEMO,
    DIMENSIONS,
    GROUPED,
    LISTED,
    LOW_RESOURCE,
    NOT_NEGATIVE,
    NOTHING,
    NUMBERS,
    OURS,
    PART,
    PLACE,
    REPEAT,
    SHARE,
    OneOf,
    Range,
)

Turns = Literal["all", "improvised", "scripted"]
Protocol = Literal[
    "si5", "si10", "loso", "loso-group", "sd", "low_resource",
    "official", "emobox", "emosuperb", "audb", "cross",
]  # fmt: skip
"""How train, dev and test are made (spknorm.protocols)."""


_LISTS = ("official", "emobox", "emosuperb", "audb")
_OF_IEMOCAP = ("iemocap", "demo")  # the demo is in its layout


def resolved_dev(dev: str, *, protocol: str, base: str, corpus: str) -> str:
    """Return what `datarc.dev` comes to: auto by the protocol and, for si5, the corpus."""
    if dev != "auto":
        return dev
    kind = base if protocol == "low_resource" else protocol
    if kind == "sd" or (kind == "si5" and corpus in _OF_IEMOCAP):
        return "superb"
    return "given" if kind in _LISTS else "speaker_disjoint"


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The emotion corpus: s3prl's `datarc` and how it is split."""

    corpus: Annotated[str, OneOf(lambda: names_for("emotion")), NUMBERS] = "iemocap"
    """One of the table of corpora (spknorm.corpora.known)."""
    root: Annotated[str | None, PLACE] = None
    """Folder of the corpus; null: the environment variable IEMOCAP_ROOT, RAVDESS_ROOT, ..."""
    meta_data: Annotated[str | None, PLACE] = None
    """Folder with s3prl's SessionN/{train,test}_meta_data.json; null: made from the tree."""
    manifest: Annotated[str | None, PLACE] = None
    allow_outside: Annotated[bool, NOTHING] = False
    """Accept paths of a manifest or fold JSON that lead out of the root."""
    test_fold: Annotated[str | None, REPEAT] = None
    """foldN holds out SessionN; null: the -v of the command line, else fold1."""
    protocol: Annotated[Protocol, NUMBERS] = "si5"
    """official: the corpus' own parts. emobox: the lists in `fold_lists`. emosuperb, audb: theirs,
    where they have one. cross: trains on `corpus` and `train_with`, tests on `test_on`."""
    groups: Annotated[int, Range(least=2), NUMBERS, GROUPED] = 5
    """loso-group: how many groups of speakers are held out in turn; `unseen`: of sentences."""
    unseen: Annotated[Literal["speakers", "sentences", "both"], NUMBERS, OURS] = "speakers"
    """What of the test part does not train: its speakers, its sentences, or both."""
    fold_lists: Annotated[str | None, PLACE, LISTED] = None
    """emobox: folder with fold_N/<corpus>_{train,valid,test}_fold_N.jsonl."""
    allow_leak: Annotated[bool, NOTHING] = False
    """Train on somebody's split although its test speakers train, too; every table then says so."""
    train_with: Annotated[tuple[str, ...], NUMBERS, CROSS] = ()
    """cross: corpora that train beside `corpus`."""
    test_on: Annotated[tuple[str, ...], NUMBERS, CROSS] = ()
    """cross: corpora that are tested, and nothing else."""
    roots: Annotated[Mapping[str, str | None], PLACE, CROSS] = field(default_factory=dict)
    """cross: folder of each corpus, by name, where the environment does not say it. A name that is
    no corpus' is a manifest's, whose file stands here."""
    base: Annotated[Literal["si5", "sd"], NUMBERS, LOW_RESOURCE] = "si5"
    """What low_resource draws its training utterances from."""
    dev: Annotated[Literal["auto", "superb", "speaker_disjoint", "given"], NUMBERS] = "auto"
    """superb: a random share of the training pool, whose speakers train, too, as in s3prl.
    speaker_disjoint: a share of its speakers. given: the list's own part (official, emobox, ...).
    auto: superb for si5 on IEMOCAP, as SUPERB has it (on the demo likewise), and for sd; given
    where there is such a part; else speaker_disjoint."""
    valid_ratio: Annotated[float, PART, NUMBERS] = 0.2
    samples_per_label: Annotated[int | None, ABOVE_0, REPEAT, LOW_RESOURCE] = None
    """low_resource: training utterances per class (paper: 50, 100, 200, ..., 1000)."""
    draw: Annotated[int, NOT_NEGATIVE, REPEAT, LOW_RESOURCE] = 0
    """low_resource: which of the random draws (paper: 5)."""
    labels: Annotated[Literal["auto", "four", "all"] | Mapping[str, Any], NUMBERS] = "auto"
    """Classes that are trained. auto: the corpus' own habit, four where it has neu, hap, ang and
    sad, else all. four: those, whatever else is there is left out. all: every word of the corpus
    for itself, excited and calm too. {map: {word: class}}: every word to a class, or to null."""
    labels_from: Annotated[Literal["majority", "votes"], NUMBERS, CLASSES] = "majority"
    """votes: train on the raters' votes as a distribution over the classes, by divergence (KL)."""
    class_weights: Annotated[Literal["none", "balanced"], NUMBERS, CLASSES] = "none"
    """balanced: the loss of an utterance counts N / (C n) of its class with n of N utterances."""
    targets: Annotated[Literal["classes", "dimensions"], NUMBERS] = "classes"
    """dimensions: predict arousal, valence and dominance; the loss is the sum of 1 - CCC."""
    scale: Annotated[tuple[float, ...] | None, NUMBERS, DIMENSIONS] = None
    """[least, greatest] value of the dimensions; null: the corpus' own, or what it spans."""
    train_turns: Annotated[Turns, NUMBERS] = "all"
    test_turns: Annotated[Turns, NUMBERS] = "all"
    demo_rho: Annotated[float, SHARE, NUMBERS, DEMO] = 0.8
    """Demo corpus: confounding of speaker and emotion, 0 to 1."""
    demo_seed: Annotated[int, NOT_NEGATIVE, NUMBERS, DEMO] = 0
    train_batch_size: Annotated[int, ABOVE_0, NUMBERS] = 4
    eval_batch_size: Annotated[int, ABOVE_0, NUMBERS] = 4
    num_workers: Annotated[int, NOT_NEGATIVE, NOTHING] = 0
    pre_load: Annotated[bool, NOTHING] = True
    """Keep decoded audio in memory."""
    skip_bad: Annotated[bool, NOTHING] = False
    """Leave unusable files out (and record which) instead of stopping."""
    check_audio: Annotated[bool, NOTHING] = False
    """Compare audio content, not only names, between train, dev and test."""


@dataclass(frozen=True, kw_only=True)
class SpeakerCorpusConfig:
    """The corpus that carries the speaker labels (paper: a third data set, not named)."""

    corpus: Annotated[str, OneOf(lambda: names_for("speaker")), NUMBERS] = "voxceleb1"
    """One of the table of corpora; an emotion corpus may serve, too."""
    root: Annotated[str | None, PLACE] = None
    meta_data: Annotated[str | None, PLACE] = None
    """VoxCeleb1: the identification split list; null: iden_split.txt in the root."""
    manifest: Annotated[str | None, PLACE] = None
    allow_outside: Annotated[bool, NOTHING] = False
    """Accept paths of a manifest that lead out of the root."""
    label: Annotated[str, NUMBERS] = "speaker"
    """Column that is normalised away; any column of a manifest."""
    batch_size: Annotated[int, ABOVE_0, NUMBERS] = 32
    """Utterances per step of the speaker head and per process, however many micro-batches the
    emotion side accumulates."""
    micro_batch_size: Annotated[int | None, ABOVE_0, NUMBERS] = None
    """Utterances that pass the upstream at once on the CPU, where the whole batch would take much
    memory; null: the whole batch always. Elsewhere runner.micro_batch decides. The step is the
    same, but for rounding and dropout."""
    balanced: Annotated[bool, NUMBERS] = False
    """Draw evenly over speakers instead of over utterances (see spknorm.batches.Order)."""
    max_seconds: Annotated[float | None, ABOVE_0, NUMBERS] = 4.0
    """Random crops of at most this many seconds; null: whole utterances."""
    crops: Annotated[Literal["auto", "fixed", "drawn"], NUMBERS] = "auto"
    """fixed: one crop per utterance, the same in every epoch and for every seed. drawn: another in
    every batch. auto: fixed on a frozen upstream, whose features are then computed once, else
    drawn. Never a question of whether there is room for a cache."""
    max_speakers: Annotated[int | None, ABOVE_0, NUMBERS] = None
    """Keep this many speakers (those with the most utterances, ties by name)."""
    shuffle_labels: Annotated[bool, NUMBERS] = False
    """Control: the same audio with permuted labels."""
