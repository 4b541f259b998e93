"""The heads and the method: gate, speaker head, strategy, update and their strength."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from spknorm.schema.marks import (
    ABOVE_0,
    ADAPTIVE,
    ADVERSARY,
    GATED,
    IN_UPSTREAM,
    LEACE,
    LITERAL,
    NOT_ADAPTIVE,
    NOT_NEGATIVE,
    NUMBERS,
    RELATIVE,
    SCHEDULED,
    SHARE,
    TOWARDS_UNIFORM,
    Range,
    When,
)

Strategy = Literal["none", "SNP", "TAP"]
Update = Literal["literal", "relative", "reversal", "adaptive"]
Adversary = Literal["ascent", "confusion", "entropy"]
_SELECT = "downstream_expert.modelrc.select"


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
    dropout: Annotated[float, Range(least=0, below=1), NUMBERS] = 0.0


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
    """Which reading of equation (3); see spknorm.method.updates."""
    adversary: Annotated[Adversary, NUMBERS, ADVERSARY] = "ascent"
    """ascent: the paper. confusion, entropy: other objectives for the shared part."""
    speaker_lambda: Annotated[float, NOT_NEGATIVE, NUMBERS, ADVERSARY, NOT_ADAPTIVE] = 1.0e-3
    """literal: the step of equation (3) (paper: 1e-3). relative: what that step takes over what the
    emotion step just before has taken, see `relative_to`. reversal: the coefficient of the flipped
    gradient. adaptive: without effect, `ascent_lr` counts."""
    relative_to: Annotated[
        Literal["auto", "step", "loss"], NUMBERS, ADVERSARY, RELATIVE, TOWARDS_UNIFORM
    ] = "auto"
    """relative only. step: lambda times the length of the emotion step. loss, with adversary
    confusion or entropy: as far as to first order lowers the logarithm of what the speaker head
    knows more than a uniform guess by lambda times what the emotion step has lowered the logarithm
    of the emotion loss by. auto: loss under TAP; SNP, and the paper's ascent, go by step."""
    ascent_direction: Annotated[
        Literal["auto", "raw", "preconditioned"], NUMBERS, ADVERSARY, RELATIVE
    ] = "auto"
    """relative only. raw: along the gradient of the speaker loss. preconditioned: along what the
    emotion loss's own optimiser (Adam) would make of it. auto: raw relative to the loss,
    preconditioned relative to the step."""
    ascent_clip: Annotated[float | None, ABOVE_0, NUMBERS, ADVERSARY, LITERAL] = None
    """literal only: longest step of equation (3); null: as long as it is."""
    ascent_lr: Annotated[float | None, ABOVE_0, NUMBERS, ADVERSARY, ADAPTIVE] = None
    """adaptive only: learning rate of the ascending Adam."""
    ascend_layer_weights: Annotated[bool, NUMBERS, IN_UPSTREAM] = False
    """Equation (3) also moves the weights of the upstream's layers (-s hidden_states). Off, they
    follow the emotion loss alone: else the sum would lean on layers with less of the speaker."""
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
    speaker_catch_up: Annotated[
        float | None, ABOVE_0, NUMBERS, ADVERSARY, RELATIVE, TOWARDS_UNIFORM
    ] = 0.05
    """Relative to the loss only: after an ascent that took more than this share of what the speaker
    head knows, the head alone trains on one further speaker batch before the next iteration. null:
    never."""
    train_feature_extractor: Annotated[bool, NUMBERS] = False
    """Also train the convolutional front end, which s3prl freezes (feature_grad_mult = 0)."""
    erasure: Annotated[Literal["none", "leace", "znorm"], NUMBERS] = "none"
    """Closed-form baselines on the pooled features of a frozen upstream: leace, linear erasure of
    the speaker; znorm, each speaker's own mean and deviation taken out."""
    erasure_rank: Annotated[int | Literal["auto"] | None, ABOVE_0, NUMBERS, LEACE] = None
    """leace: erase only so many of the speaker's directions, the strongest first (10 in the
    controlled study); auto: those that tell speakers apart more than permuted speakers' do, so that
    with shuffle_labels none goes; null: all, one less than speakers, which may be all there are."""

    @property
    def goes_by_loss(self) -> bool:
        """Whether lambda compares what both steps take of their losses, not their lengths."""
        chosen = self.relative_to
        if chosen == "auto":
            chosen = "loss" if self.strategy == "TAP" and self.adversary != "ascent" else "step"
        return self.update == "relative" and chosen == "loss"

    @property
    def preconditions(self) -> bool:
        """Whether the ascent's direction is what the optimiser of (1) makes of the gradient."""
        chosen = self.ascent_direction
        if chosen == "auto":
            chosen = "raw" if self.goes_by_loss else "preconditioned"
        return self.update == "relative" and chosen == "preconditioned"
