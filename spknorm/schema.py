"""Every setting of the task `emotion_spknorm`, as frozen dataclasses: name, type, default, meaning.

The text under a field says its meaning, its unit and, where there is one, the paper's value.
`config.py` fills these classes from YAML and checks them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Strategy = Literal["none", "SNP", "TAP"]
Update = Literal["literal", "reversal", "adaptive"]
Adversary = Literal["ascent", "confusion", "entropy"]
Turns = Literal["all", "improvised", "scripted"]


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """s3prl's `runner` section and what our engine adds to it."""

    engine: Literal["spknorm", "s3prl"] = "spknorm"
    """Who runs the training loop: spknorm.runner, or s3prl's own Runner (one mixed batch)."""
    total_steps: int = 30000
    """Optimiser steps."""
    gradient_clipping: float = 1.0
    """Largest norm of a gradient; see `clip` for the norm of what."""
    clip: Literal["auto", "joint", "group"] = "auto"
    """joint: one norm over everything, as s3prl. group: each parameter group for itself.
    auto: joint without an adversary (so that strategy none is s3prl's task), group with one."""
    gradient_accumulate_steps: int = 1
    log_step: int = 100
    eval_step: int = 500
    save_step: int = 500
    max_keep: int = 1
    """Checkpoints states-N.ckpt kept beside dev-best.ckpt."""
    eval_dataloaders: tuple[str, ...] = ("dev", "test")
    """Under our engine `dev` every eval_step, `test` once at the best dev step."""
    train_dataloader: str = "train"
    evaluate_ratio: float = 1.0
    fp16: bool = False
    """s3prl's switch; the same as precision: fp16."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    early_stopping: int | None = None
    """Evaluations without a gain on dev after which training ends; null: never."""
    max_nonfinite: int = 10
    """Steps in a row with a non-finite loss or gradient after which the run ends."""
    max_oom: int = 3
    """Batches that may be skipped for lack of memory."""
    on_config_change: Literal["refuse", "accept", "fork"] = "refuse"
    """What resuming with a changed configuration does (total_steps may always grow). fork: go on
    in FOLDER-fork1 (or the fork that has these settings), and leave FOLDER as it is."""


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """What one parameter group has for itself; null: as the optimizer section says."""

    lr: float | None = None
    weight_decay: float | None = None


@dataclass(frozen=True, kw_only=True)
class GroupsConfig:
    """Learning rate and weight decay per parameter group."""

    upstream: GroupConfig = field(default_factory=GroupConfig)
    gate: GroupConfig = field(default_factory=GroupConfig)
    emotion_head: GroupConfig = field(default_factory=GroupConfig)
    speaker_head: GroupConfig = field(default_factory=GroupConfig)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """s3prl's `optimizer` section plus `groups`; the paper does not say which optimiser it used."""

    name: Literal["TorchOptim"] = "TorchOptim"
    torch_optim_name: Literal["Adam", "AdamW", "SGD", "Adamax", "NAdam", "RMSprop"] = "Adam"
    lr: float = 1.0e-4
    """eta of equations (1), (2), (4)."""
    weight_decay: float = 0.0
    momentum: float | None = None
    betas: tuple[float, ...] | None = None
    eps: float | None = None
    fused: bool | None = None
    groups: GroupsConfig | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The emotion corpus: s3prl's `datarc` and how it is split."""

    corpus: Literal["iemocap", "manifest", "demo"] = "iemocap"
    root: str | None = None
    """Folder of the corpus; null: the environment variable IEMOCAP_ROOT."""
    meta_data: str | None = None
    """Folder with s3prl's SessionN/{train,test}_meta_data.json; null: made from the tree."""
    manifest: str | None = None
    allow_outside: bool = False
    """Accept paths of a manifest or fold JSON that lead out of the root."""
    test_fold: str | None = None
    """foldN holds out SessionN; null: the -v of the command line, else fold1."""
    protocol: Literal["si5", "si10", "sd", "low_resource"] = "si5"
    base: Literal["si5", "sd"] = "si5"
    """What low_resource draws its training utterances from."""
    dev: Literal["superb", "speaker_disjoint"] = "superb"
    valid_ratio: float = 0.2
    samples_per_label: int | None = None
    """low_resource: training utterances per class (paper: 50, 100, 200, ..., 1000)."""
    draw: int = 0
    """low_resource: which of the random draws (paper: 5)."""
    train_turns: Turns = "all"
    test_turns: Turns = "all"
    demo_rho: float = 0.8
    """Demo corpus: confounding of speaker and emotion, 0 to 1."""
    demo_seed: int = 0
    train_batch_size: int = 4
    eval_batch_size: int = 4
    num_workers: int = 0
    pre_load: bool = True
    """Keep decoded audio in memory."""
    skip_bad: bool = False
    """Leave unusable files out (and record which) instead of stopping."""
    check_audio: bool = False
    """Compare audio content, not only names, between train, dev and test."""


@dataclass(frozen=True, kw_only=True)
class SpeakerCorpusConfig:
    """The corpus that carries the speaker labels (paper: a third data set, not named)."""

    corpus: Literal["voxceleb1", "librispeech", "manifest", "demo"] = "voxceleb1"
    root: str | None = None
    meta_data: str | None = None
    """VoxCeleb1: the identification split list; null: iden_split.txt in the root."""
    manifest: str | None = None
    allow_outside: bool = False
    """Accept paths of a manifest that lead out of the root."""
    label: str = "speaker"
    """Column that is normalised away; any column of a manifest."""
    batch_size: int = 4
    max_seconds: float | None = 4.0
    """Random crops of at most this many seconds; null: whole utterances."""
    max_speakers: int | None = None
    """Keep this many speakers (those with the most utterances, ties by name)."""
    shuffle_labels: bool = False
    """Control: the same audio with permuted labels."""


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """SNP's gate. Its size and activation are not in the paper: these defaults are ours."""

    width: int | None = None
    """Hidden units; null: as many as the upstream's dimension."""
    depth: int = 1
    """Hidden layers; at least 1, else the gate would be linear."""
    activation: Literal["ReLU", "GELU", "Tanh", "SiLU", "LeakyReLU"] = "ReLU"
    residual: bool = False
    """Add the input to the output. A gate that starts as the identity keeps more of the speaker and
    gains less (docs/controlled.md)."""


@dataclass(frozen=True, kw_only=True)
class SpeakerHeadConfig:
    """The speaker-ID head g_id: mean over time, hidden layers, one logit per speaker."""

    hidden: tuple[int, ...] = (256,)
    """Widths of its hidden layers; empty: linear."""
    batch_norm: bool = False
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """s3prl's `modelrc` of the emotion task, the gate and the speaker head."""

    projector_dim: int = 256
    select: Literal["UtteranceLevel", "DeepModel", "NonLinearProjection"] = "UtteranceLevel"
    UtteranceLevel: Mapping[str, Any] = field(default_factory=lambda: {"pooling": "MeanPooling"})
    DeepModel: Mapping[str, Any] = field(default_factory=dict)
    NonLinearProjection: Mapping[str, Any] = field(default_factory=dict)
    gate: GateConfig = field(default_factory=GateConfig)
    speaker_head: SpeakerHeadConfig = field(default_factory=SpeakerHeadConfig)


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The method's own settings, `downstream_expert.spknorm`."""

    strategy: Strategy = "TAP"
    """none: s3prl's emotion task. SNP: the ascent reaches the gate alone. TAP: the upstream."""
    update: Update = "literal"
    """Which reading of equation (3); see spknorm.updates."""
    adversary: Adversary = "ascent"
    """ascent: the paper. confusion, entropy: other objectives for the shared part."""
    speaker_lambda: float = 1.0e-3
    """literal: the step of equation (3) (paper: 1e-3). reversal: the coefficient of the flipped
    gradient. adaptive: without effect, `ascent_lr` counts."""
    ascent_lr: float | None = None
    """adaptive only: learning rate of the ascending Adam."""
    schedule: Literal["constant", "linear", "dann"] = "constant"
    """How lambda (or ascent_lr) grows: at once, linearly, or as 2 / (1 + exp(-10 p)) - 1."""
    ramp: float = 0.2
    """Part of all steps over which `schedule` grows, 0 to 1."""
    ceiling: float | None = 1.0
    """Ascent pauses while the running speaker loss exceeds ceiling * log K; null: never pauses."""
    speaker_warmup_steps: int = 0
    """First steps in which the speaker head trains and nothing ascends."""
    speaker_steps: int = 1
    """Speaker batches per iteration; the head trains on each, the ascent uses the last."""
    train_feature_extractor: bool = False
    """Also train the convolutional front end, which s3prl freezes (feature_grad_mult = 0)."""
    erasure: Literal["none", "leace", "znorm"] = "none"
    """Cheap baselines on the pooled features of a frozen upstream."""


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """s3prl's `downstream_expert` section."""

    datarc: DataConfig = field(default_factory=DataConfig)
    speaker_corpus: SpeakerCorpusConfig = field(default_factory=SpeakerCorpusConfig)
    modelrc: ModelConfig = field(default_factory=ModelConfig)
    spknorm: MethodConfig = field(default_factory=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class UpstreamConfig:
    """How the upstream computes (never what): speed and memory."""

    cache: Literal["auto", "off"] = "auto"
    """auto: compute what is frozen once (see spknorm.features)."""
    cache_dir: str | None = None
    cache_limit_gb: float = 20.0
    checkpoint_activations: bool = False
    """Recompute the transformer's activations in the backward pass."""
    compile: bool = False
    packed: bool = True
    """Run utterances end to end instead of padded (HuBERT and wav2vec 2.0; see spknorm.fast):
    faster, and features no longer depend on the batch. false: as s3prl does."""
    bucket: bool = False
    """Batches of similar length (see spknorm.batches)."""
    keep_freed_memory: bool = True
    """On the CPU, memory that a step frees stays with the process for the next step
    (see spknorm.fast.memory)."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A whole config.yaml of the task emotion_spknorm."""

    runner: RunnerConfig = field(default_factory=RunnerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: Mapping[str, Any] | None = None
    """s3prl's scheduler section, or none."""
    specaug: Mapping[str, Any] | None = None
    """s3prl's SpecAugment section; engine s3prl only."""
    upstream: UpstreamConfig = field(default_factory=UpstreamConfig)
    downstream_expert: ExpertConfig = field(default_factory=ExpertConfig)
