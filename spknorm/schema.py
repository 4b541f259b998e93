"""Every setting of the task `emotion_spknorm`: name, type, range, effect, default, meaning.

The marks beside a field's type say its range and what changes with it (see `marks.py`), the text
under it its meaning, its unit and, where there is one, the paper's value. `config.py` fills these
classes from YAML and checks them; `effects.py` compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from spknorm.marks import (
    ABOVE_0,
    ADAPTIVE,
    ADVERSARY,
    DEMO,
    GATED,
    GROUPED,
    LEACE,
    LENGTH,
    LITERAL,
    LOW_RESOURCE,
    NOT_ADAPTIVE,
    NOT_NEGATIVE,
    NOTHING,
    NUMBERS,
    PLACE,
    RELATIVE,
    REPEAT,
    SCHEDULED,
    SHARE,
    THEIR_ENGINE,
    WITH_SPEAKERS,
    Range,
    When,
)  # isort: skip  # fmt: skip

Strategy = Literal["none", "SNP", "TAP"]
Update = Literal["literal", "relative", "reversal", "adaptive"]
Adversary = Literal["ascent", "confusion", "entropy"]
Turns = Literal["all", "improvised", "scripted"]
Coded = Literal[
    "ravdess", "ravdess_song", "crema_d", "tess", "savee", "jl", "enterface", "emov_db", "emodb",
    "emovo", "esd", "cafe", "aesdd", "subesco", "shemo", "casia",
]  # fmt: skip
"""Emotion corpora with coded file names (spknorm.corpora.layouts)."""
_SELECT = "downstream_expert.modelrc.select"


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """s3prl's `runner` section and what our engine adds to it."""

    engine: Annotated[Literal["spknorm", "s3prl"], NUMBERS] = "spknorm"
    """Who runs the training loop: spknorm.runner, or s3prl's own Runner (one mixed batch)."""
    total_steps: Annotated[int, ABOVE_0, LENGTH] = 30000
    """Optimiser steps."""
    gradient_clipping: Annotated[float, ABOVE_0, NUMBERS] = 1.0
    """Largest norm of a gradient; see `clip` for the norm of what."""
    clip: Annotated[Literal["auto", "stage", "joint", "group"], NUMBERS] = "auto"
    """stage: one norm over what the emotion loss trains (upstream, gate, emotion head), one over
    the speaker head; without an adversary that is s3prl's. group: each of these for itself. joint:
    one norm over everything that moves at once. auto: stage, for every strategy, so that they
    compare; joint under engine s3prl. The gradient of an ascent of its own is never clipped."""
    gradient_accumulate_steps: Annotated[int, ABOVE_0, NUMBERS] = 1
    log_step: Annotated[int, ABOVE_0, NOTHING] = 100
    eval_step: Annotated[int, ABOVE_0, NUMBERS] = 500
    save_step: Annotated[int, ABOVE_0, NOTHING] = 500
    max_keep: Annotated[int, ABOVE_0, NOTHING] = 1
    """Checkpoints states-N.ckpt kept beside dev-best.ckpt."""
    eval_dataloaders: Annotated[tuple[Literal["dev", "test"], ...], NUMBERS] = ("dev", "test")
    """Under our engine `dev` every eval_step, `test` once at the best dev step."""
    train_dataloader: Annotated[str, NUMBERS, THEIR_ENGINE] = "train"
    evaluate_ratio: Annotated[float, SHARE, NUMBERS] = 1.0
    fp16: Annotated[bool, NUMBERS] = False
    """s3prl's switch; the same as precision: fp16."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], NUMBERS] = "fp32"
    """auto: bf16 on a GPU that computes in it natively, else fp32; result.json says which."""
    keep: Annotated[Literal["all", "weights", "none"], NOTHING] = "all"
    """What stays of a run that is complete. all: its checkpoints, so that more steps can follow.
    weights: dev-best.ckpt without the optimisers' states, a third of one. none: results alone."""
    early_stopping: Annotated[int | None, ABOVE_0, NUMBERS] = None
    """Evaluations without a gain on dev after which training ends; null: never."""
    max_nonfinite: Annotated[int, ABOVE_0, NOTHING] = 10
    """Steps in a row with a non-finite loss or gradient after which the run ends."""
    max_oom: Annotated[int, NOT_NEGATIVE, NOTHING] = 3
    """Batches in a row that may be skipped for lack of memory."""
    on_config_change: Annotated[Literal["refuse", "accept", "fork"], NOTHING] = "refuse"
    """What resuming with a changed configuration does (total_steps may always grow). fork: go on
    in FOLDER-fork1 (or the fork that has these settings), and leave FOLDER as it is."""


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """What one parameter group has for itself; null: as the optimizer section says."""

    lr: Annotated[float | None, NOT_NEGATIVE, NUMBERS] = None
    weight_decay: Annotated[float | None, NOT_NEGATIVE, NUMBERS] = None


@dataclass(frozen=True, kw_only=True)
class GroupsConfig:
    """Learning rate and weight decay per parameter group."""

    upstream: GroupConfig = field(default_factory=GroupConfig)
    gate: Annotated[GroupConfig, GATED] = field(default_factory=GroupConfig)
    emotion_head: GroupConfig = field(default_factory=GroupConfig)
    speaker_head: Annotated[GroupConfig, ADVERSARY] = field(default_factory=GroupConfig)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """s3prl's `optimizer` section plus `groups`; the paper does not say which optimiser it used."""

    name: Annotated[Literal["TorchOptim"], NUMBERS] = "TorchOptim"
    torch_optim_name: Annotated[
        Literal["Adam", "AdamW", "SGD", "Adamax", "NAdam", "RMSprop", "Adafactor"], NUMBERS
    ] = "Adam"
    lr: Annotated[float, NOT_NEGATIVE, NUMBERS] = 1.0e-4
    """eta of equations (1), (2), (4)."""
    weight_decay: Annotated[float, NOT_NEGATIVE, NUMBERS] = 0.0
    momentum: Annotated[float | None, NOT_NEGATIVE, NUMBERS] = None
    betas: Annotated[tuple[float, ...] | None, Range(least=0, below=1), NUMBERS] = None
    eps: Annotated[float | None, NOT_NEGATIVE, NUMBERS] = None
    fused: Annotated[bool | None, NUMBERS] = None
    groups: GroupsConfig | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The emotion corpus: s3prl's `datarc` and how it is split."""

    corpus: Annotated[Literal["iemocap", Coded, "manifest", "demo"], NUMBERS] = "iemocap"
    root: Annotated[str | None, PLACE] = None
    """Folder of the corpus; null: the environment variable IEMOCAP_ROOT, RAVDESS_ROOT, ..."""
    meta_data: Annotated[str | None, PLACE] = None
    """Folder with s3prl's SessionN/{train,test}_meta_data.json; null: made from the tree."""
    manifest: Annotated[str | None, PLACE] = None
    allow_outside: Annotated[bool, NOTHING] = False
    """Accept paths of a manifest or fold JSON that lead out of the root."""
    test_fold: Annotated[str | None, REPEAT] = None
    """foldN holds out SessionN; null: the -v of the command line, else fold1."""
    protocol: Annotated[
        Literal["si5", "si10", "loso", "loso-group", "sd", "low_resource"], NUMBERS
    ] = "si5"
    groups: Annotated[int, Range(least=2), NUMBERS, GROUPED] = 5
    """loso-group: how many groups of speakers are held out in turn."""
    base: Annotated[Literal["si5", "sd"], NUMBERS, LOW_RESOURCE] = "si5"
    """What low_resource draws its training utterances from."""
    dev: Annotated[Literal["superb", "speaker_disjoint"], NUMBERS] = "superb"
    valid_ratio: Annotated[float, SHARE, NUMBERS] = 0.2
    samples_per_label: Annotated[int | None, ABOVE_0, REPEAT, LOW_RESOURCE] = None
    """low_resource: training utterances per class (paper: 50, 100, 200, ..., 1000)."""
    draw: Annotated[int, NOT_NEGATIVE, REPEAT, LOW_RESOURCE] = 0
    """low_resource: which of the random draws (paper: 5)."""
    labels: Annotated[Literal["auto", "four", "all"] | Mapping[str, Any], NUMBERS] = "auto"
    """Classes that are trained. auto: the corpus' own habit, four where it has neu, hap, ang and
    sad, else all. four: those, whatever else is there is left out. all: every word of the corpus
    for itself, excited and calm too. {map: {word: class}}: every word to a class, or to null."""
    train_turns: Annotated[Turns, NUMBERS] = "all"
    test_turns: Annotated[Turns, NUMBERS] = "all"
    demo_rho: Annotated[float, SHARE, NUMBERS, DEMO] = 0.8
    """Demo corpus: confounding of speaker and emotion, 0 to 1."""
    demo_seed: Annotated[int, NUMBERS, DEMO] = 0
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

    corpus: Annotated[Literal["voxceleb1", "librispeech", Coded, "manifest", "demo"], NUMBERS] = (
        "voxceleb1"
    )
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
    """Utterances that pass the upstream at once, for memory; null: the whole batch. The step is the
    same but for a head with batch_norm, which normalises each piece for itself."""
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


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """SNP's gate. Its size and activation are not in the paper: these defaults are ours."""

    width: Annotated[int | None, ABOVE_0, NUMBERS] = None
    """Hidden units; null: as many as the upstream's dimension."""
    depth: Annotated[int, ABOVE_0, NUMBERS] = 1
    """Hidden layers; at least 1, else the gate would be linear."""
    activation: Annotated[Literal["ReLU", "GELU", "Tanh", "SiLU", "LeakyReLU"], NUMBERS] = "ReLU"
    residual: Annotated[bool, NUMBERS] = False
    """Add the input to the output. A gate that starts as the identity keeps more of the speaker and
    gains less (docs/controlled.md)."""


@dataclass(frozen=True, kw_only=True)
class SpeakerHeadConfig:
    """The speaker-ID head g_id: mean over time, hidden layers, one logit per speaker."""

    hidden: Annotated[tuple[int, ...], ABOVE_0, NUMBERS] = (256,)
    """Widths of its hidden layers; empty: linear."""
    batch_norm: Annotated[bool, NUMBERS] = False
    dropout: Annotated[float, SHARE, NUMBERS] = 0.0


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """s3prl's `modelrc` of the emotion task, the gate and the speaker head."""

    projector_dim: Annotated[int, ABOVE_0, NUMBERS] = 256
    select: Annotated[Literal["UtteranceLevel", "DeepModel", "NonLinearProjection"], NUMBERS] = (
        "UtteranceLevel"
    )
    UtteranceLevel: Annotated[Mapping[str, Any], NUMBERS, When({_SELECT: ("UtteranceLevel",)})] = (
        field(default_factory=lambda: {"pooling": "MeanPooling"})
    )
    DeepModel: Annotated[Mapping[str, Any], NUMBERS, When({_SELECT: ("DeepModel",)})] = field(
        default_factory=dict
    )
    NonLinearProjection: Annotated[
        Mapping[str, Any], NUMBERS, When({_SELECT: ("NonLinearProjection",)})
    ] = field(default_factory=dict)
    gate: Annotated[GateConfig, GATED] = field(default_factory=GateConfig)
    speaker_head: Annotated[SpeakerHeadConfig, ADVERSARY] = field(default_factory=SpeakerHeadConfig)


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The method's own settings, `downstream_expert.spknorm`."""

    strategy: Annotated[Strategy, NUMBERS] = "TAP"
    """none: s3prl's emotion task. SNP: the ascent reaches the gate alone. TAP: the upstream."""
    update: Annotated[Update, NUMBERS, ADVERSARY] = "literal"
    """Which reading of equation (3); see spknorm.updates."""
    adversary: Annotated[Adversary, NUMBERS, ADVERSARY] = "ascent"
    """ascent: the paper. confusion, entropy: other objectives for the shared part."""
    speaker_lambda: Annotated[float, NOT_NEGATIVE, NUMBERS, ADVERSARY, NOT_ADAPTIVE] = 1.0e-3
    """literal: the step of equation (3) (paper: 1e-3). relative: the length of that step over the
    length of the emotion step just before. reversal: the coefficient of the flipped gradient.
    adaptive: without effect, `ascent_lr` counts."""
    ascent_direction: Annotated[Literal["raw", "preconditioned"], NUMBERS, ADVERSARY, RELATIVE] = (
        "preconditioned"
    )
    """relative only. raw: along the gradient of the speaker loss. preconditioned: along what the
    emotion loss's own optimiser (Adam) would make of it."""
    ascent_clip: Annotated[float | None, ABOVE_0, NUMBERS, ADVERSARY, LITERAL] = None
    """literal only: longest step of equation (3); null: as long as it is."""
    ascent_lr: Annotated[float | None, ABOVE_0, NUMBERS, ADVERSARY, ADAPTIVE] = None
    """adaptive only: learning rate of the ascending Adam."""
    schedule: Annotated[Literal["constant", "linear", "dann"], NUMBERS, ADVERSARY] = "constant"
    """How lambda (or ascent_lr) grows: at once, linearly, or as 2 / (1 + exp(-10 p)) - 1."""
    ramp: Annotated[float, SHARE, NUMBERS, ADVERSARY, SCHEDULED] = 0.2
    """Part of all steps over which `schedule` grows, 0 to 1."""
    ceiling: Annotated[float | None, ABOVE_0, NUMBERS, ADVERSARY] = 1.0
    """The ascent pauses when the speaker head's loss on held-out utterances (their running mean)
    exceeds ceiling * log K, the loss of a uniform guess, and goes on once it is below .9 of that;
    null: never pauses. Held out: the corpus' own dev part, else some utterances of each speaker.
    With shuffle_labels nothing pauses: of permuted labels nothing held out can be known."""
    held_out_every: Annotated[int, ABOVE_0, NUMBERS, ADVERSARY] = 10
    """Steps between two held-out speaker batches, which cost a forward pass each."""
    speaker_pretrain_steps: Annotated[int, NOT_NEGATIVE, NUMBERS, ADVERSARY] = 0
    """Steps in which the speaker head is trained before step 1, on the pooled features of the
    upstream as it comes (each of 128 utterances, drawn evenly over speakers, by an Adam of its own
    whose rate falls from 2e-3 to 0); nothing else moves."""
    speaker_warmup_steps: Annotated[int, NOT_NEGATIVE, NUMBERS, ADVERSARY] = 0
    """First steps in which the speaker head trains and nothing ascends."""
    speaker_steps: Annotated[int, ABOVE_0, NUMBERS, ADVERSARY] = 1
    """Speaker batches per iteration; the head trains on each, the ascent uses the last."""
    train_feature_extractor: Annotated[bool, NUMBERS] = False
    """Also train the convolutional front end, which s3prl freezes (feature_grad_mult = 0)."""
    erasure: Annotated[Literal["none", "leace", "znorm"], NUMBERS] = "none"
    """Closed-form baselines on the pooled features of a frozen upstream: leace, linear erasure of
    the speaker; znorm, each speaker's own mean and deviation taken out."""
    erasure_rank: Annotated[int | None, ABOVE_0, NUMBERS, LEACE] = None
    """leace: erase only so many of the speaker's directions, the strongest first (10 in the
    controlled study); null: all of them, one less than speakers, which may be all there are."""


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """s3prl's `downstream_expert` section."""

    datarc: DataConfig = field(default_factory=DataConfig)
    speaker_corpus: Annotated[SpeakerCorpusConfig, WITH_SPEAKERS] = field(
        default_factory=SpeakerCorpusConfig
    )
    modelrc: ModelConfig = field(default_factory=ModelConfig)
    spknorm: MethodConfig = field(default_factory=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class UpstreamConfig:
    """How the upstream computes: speed and memory, and with some of them the last digits."""

    cache: Annotated[Literal["auto", "off"], NOTHING] = "auto"
    """auto: keep on disk what is frozen (see spknorm.features). off, or where there is no room:
    compute it again, to the same bit."""
    cache_dir: Annotated[str | None, PLACE] = None
    cache_limit_gb: Annotated[float, ABOVE_0, NOTHING] = 20.0
    checkpoint_activations: Annotated[bool, NOTHING] = False
    """Recompute the transformer's activations in the backward pass."""
    compile: Annotated[bool, NUMBERS] = False
    packed: Annotated[bool, NUMBERS] = True
    """Run utterances end to end instead of padded (HuBERT and wav2vec 2.0; see spknorm.fast):
    faster, and features do not depend on the batch. Frozen upstreams of all kinds take each
    utterance alone. false: padded, as s3prl does; nothing of a frozen upstream is cached."""
    bucket: Annotated[bool, NUMBERS] = False
    """Batches of similar length (see spknorm.batches)."""
    keep_freed_memory: Annotated[bool, NOTHING] = True
    """On the CPU, memory that a step frees stays with the process for the next step
    (see spknorm.fast.memory)."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A whole config.yaml of the task emotion_spknorm."""

    runner: RunnerConfig = field(default_factory=RunnerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: Annotated[Mapping[str, Any] | None, NUMBERS] = None
    """s3prl's scheduler section, or none."""
    specaug: Annotated[Mapping[str, Any] | None, NUMBERS, THEIR_ENGINE] = None
    """s3prl's SpecAugment section; engine s3prl only."""
    upstream: UpstreamConfig = field(default_factory=UpstreamConfig)
    downstream_expert: ExpertConfig = field(default_factory=ExpertConfig)
