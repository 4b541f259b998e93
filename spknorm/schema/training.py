"""How a run trains: its loop, its optimisers, and how the upstream computes."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from spknorm.schema.marks import (
    ABOVE_0,
    ADVERSARY,
    CLASSES,
    GATED,
    LENGTH,
    NOT_NEGATIVE,
    NOTHING,
    NUMBERS,
    PLACE,
    THEIR_ENGINE,
    Range,
)


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
    evaluate_ratio: Annotated[float, Range(above=0, most=1), NUMBERS] = 1.0
    fp16: Annotated[bool, NUMBERS] = False
    """s3prl's switch; the same as precision: fp16."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], NUMBERS] = "fp32"
    """auto: bf16 on a GPU that computes in it natively, else fp32; result.json says which."""
    keep: Annotated[Literal["all", "last", "best", "weights", "none"], NOTHING] = "all"
    """What stays of a run that is complete. all: its checkpoints, so that more steps can follow.
    weights: dev-best.ckpt without the optimisers' states, a third of one. last: that, and the
    newest checkpoint whole. best: dev-best.ckpt whole. none: results alone."""
    micro_batch: Annotated[Literal["auto"] | int, ABOVE_0, NUMBERS] = "auto"
    """Utterances that pass the upstream at once. How a step's batch is cut is a matter of memory:
    losses and gradients are those of the uncut batch, but for rounding and the numbers that dropout
    draws. auto: on a GPU all that its memory holds, found out as it goes; on the CPU the whole
    batch while its activations are under 256 MB, else datarc.train_batch_size and
    speaker_corpus.micro_batch_size."""
    early_stopping: Annotated[int | None, ABOVE_0, NUMBERS] = None
    """Evaluations without a gain on dev after which training ends; null: never."""
    select_by: Annotated[Literal["wa", "ua", "macro_f1"], NUMBERS, CLASSES] = "wa"
    """The score on dev that chooses the best step; s3prl's is wa. Of dimensions: the mean CCC."""
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
    featurizer: GroupConfig = field(default_factory=GroupConfig)
    """The weights of the upstream's layers (-s hidden_states); null: as the emotion head."""
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
class LoraConfig:
    """Low-rank adapters (Hu et al. 2022) beside the upstream's weights, which stay as they are.

    What trains the upstream then trains the adapters alone, equation (3) among it.
    """

    rank: Annotated[int, NOT_NEGATIVE, NUMBERS] = 0
    """Of each adapter; 0: there are none, the upstream itself is trained."""
    alpha: Annotated[float, ABOVE_0, NUMBERS] = 16.0
    """The adapters' product counts alpha / rank times."""
    targets: Annotated[tuple[str, ...] | None, NUMBERS] = None
    """Linear modules of each layer that get one, by the ends of their names; null: queries and
    values."""


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
    graphs: Annotated[bool, NUMBERS] = True
    """On a GPU, in training in 16 bits, record all layers as CUDA graphs and replay them: the host
    then has little to do (see spknorm.upstreams.fast.graphs)."""
    packed: Annotated[bool, NUMBERS] = True
    """Run utterances end to end instead of padded (the wav2vec 2.0 kind of models; see
    spknorm.upstreams.fast): faster, and features do not depend on the batch. Frozen upstreams
    of all kinds take each utterance alone. false: padded, as s3prl does; nothing of a frozen
    upstream is cached."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Train adapters, not the upstream (peft); checkpoints hold them alone, exports the sum."""
    freeze_layers: Annotated[int, NOT_NEGATIVE, NUMBERS] = 0
    """Lowest layers, with all below them, that a fine-tuned upstream does not train."""
    layer_decay: Annotated[float, Range(above=0, most=1), NUMBERS] = 1.0
    """Learning rate of each layer over that of the one above it; the last has the group's own."""
    bitfit: Annotated[bool, NUMBERS] = False
    """Train the upstream's biases alone (Ben Zaken et al. 2022)."""
    bucket: Annotated[bool, NUMBERS] = False
    """Batches of similar length (see spknorm.batches)."""
    keep_freed_memory: Annotated[bool, NOTHING] = True
    """On the CPU, memory that a step frees stays with the process for the next step
    (see spknorm.upstreams.fast.memory)."""
