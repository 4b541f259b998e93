"""What a run is built from: parameter groups, schedulers, feature sources; and what cannot work.

Used by `engine.py` once per run.
"""

import argparse
import functools
import logging
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from spknorm import features
from spknorm.batches.streams import crops_of
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError
from spknorm.features.sources import Lookup, Source
from spknorm.method.optim.groups import shared_names
from spknorm.method.optim.precision import DTYPES, evaluation_precision, precision_of
from spknorm.method.optim.world import World
from spknorm.method.updates import Groups
from spknorm.probe.erasure import check_variance_left, erase_layers, fit_layers, normalise_layers
from spknorm.protocols import speakers_of
from spknorm.schema import MethodConfig, TaskConfig, UpstreamConfig
from spknorm.upstreams import family_of, tuning
from spknorm.upstreams.alone import AloneUpstream
from spknorm.upstreams.fast import PackedEncoder, make_encoder, reason_unsupported

logger = logging.getLogger(__name__)


def how_long(settings: TaskConfig, world: World, expert: Any) -> str:
    """Return how many epochs of the training utterances a run has, in words."""
    run, data = settings.runner, settings.downstream_expert.datarc
    batch = data.train_batch_size * run.gradient_accumulate_steps * world.size
    size = len(expert.split.train)
    return (
        f"{run.total_steps} steps of {batch} utterances: {run.total_steps * batch / size:.1f} "
        f"epochs of the {size} that train"
    )


def make_groups(upstream: nn.Module, featurizer: nn.Module, heads: Any, *, frozen: bool) -> Groups:
    """Return the trainable parameters by role, each group in s3prl's order."""
    shared = [] if frozen else [p for p in upstream.parameters() if p.requires_grad]
    layers = [p for p in featurizer.parameters() if p.requires_grad]
    gate = list(heads.gate.parameters()) if heads.gate is not None else []
    speaker = list(heads.speaker_head.parameters()) if heads.speaker_head is not None else []
    taken = {id(parameter) for parameter in (*gate, *speaker)}
    emotion = [parameter for parameter in heads.parameters() if id(parameter) not in taken]
    return Groups(shared, gate, emotion, speaker, layers)


def shared_part(model: Any, name: str, method: MethodConfig) -> list[nn.Parameter]:
    """Return what equation (3) moves of s3prl's entry Upstream, Featurizer or Downstream."""
    if name == "Downstream":
        name, model = "gate", model.heads.gate
    if name.lower() not in shared_names(method):
        return []
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def check_upstream(
    upstream: nn.Module, featurizer: Any, args: argparse.Namespace, config: TaskConfig
) -> None:
    """Check that every option about the upstream can take effect.

    Raises:
        ConfigError: One cannot, with the reason and what to do instead.
    """
    asked, layer = args.upstream_feature_selection, args.upstream_layer_selection
    if featurizer.feature_selection != asked:
        raise ConfigError(
            f"The upstream {args.upstream} has no output `{asked}` (-s). Choose "
            f"`{featurizer.feature_selection}`, with -l for one of its layers."
        )
    one_layer = asked == "last_hidden_state" or re.fullmatch(r"hidden_state_\d+", asked)
    if layer is not None and one_layer:
        raise ConfigError(f"`-l {layer}` has no effect, since -s {asked} is a single layer.")
    if args.upstream_feature_normalize and not hasattr(featurizer, "weights"):
        raise ConfigError(
            "`--upstream_feature_normalize` has no effect on a single layer: leave it out, or "
            "choose a weighted sum of layers with -s hidden_states."
        )
    method = config.downstream_expert.spknorm
    trainable = any(parameter.requires_grad for parameter in upstream.parameters())
    if method.strategy == "TAP" and not trainable:
        raise ConfigError(
            f"Strategy TAP moves the upstream's weights (equation 3), but {args.upstream} has "
            "none to train. Choose strategy SNP, which needs none, or another upstream."
        )
    if method.strategy == "TAP" and not args.upstream_trainable:
        raise ConfigError(
            "Strategy TAP moves the upstream's weights (equation 3), but the upstream is frozen. "
            "Fine-tune it (leave out --frozen), or choose strategy SNP."
        )
    if method.train_feature_extractor:
        _train_feature_extractor(upstream, args, config.upstream)
    _check_tuning(upstream, featurizer, args, config)


def _check_tuning(
    upstream: nn.Module, featurizer: Any, args: argparse.Namespace, config: TaskConfig
) -> None:
    own, default = config.upstream, UpstreamConfig()
    if not args.upstream_trainable:
        for name in ("lora", "freeze_layers", "layer_decay", "bitfit"):
            if getattr(own, name) != getattr(default, name):
                raise ConfigError(
                    f"`config.upstream.{name}` has no effect on a frozen upstream: leave it out, "
                    "or leave out --frozen."
                )
    if not own.lora.rank and own.lora != default.lora:
        raise ConfigError(
            "`config.upstream.lora` has no effect without a rank: set upstream.lora.rank to 8, say."
        )
    if not tuning.has_adapters(upstream) or not _reads_past_adapters(upstream):
        return
    reason = reason_unsupported(upstream, featurizer) if own.packed else "upstream.packed is off"
    if reason is not None:
        advice = "Fine-tune it" if own.packed else "Set upstream.packed to true, or fine-tune"
        raise ConfigError(
            f"`config.upstream.lora` has no effect on {args.upstream} as it would run, since its "
            f"attention reads its weights past the adapters ({reason}). {advice} without lora."
        )


def _reads_past_adapters(upstream: nn.Module) -> bool:
    """Whether an upstream's own attention takes weights as tensors, which adapters do not change.

    fairseq's and WavLM's do (torch.nn.functional.multi_head_attention_forward), not those of
    transformers' models, in s3prl's wrappers of them either.
    """
    wrapped = hasattr(getattr(upstream, "model", None), "feature_projection")
    by_modules = wrapped or isinstance(upstream, AloneUpstream)
    return not by_modules or family_of(upstream).title == "WavLM"


def _train_feature_extractor(
    upstream: nn.Module, args: argparse.Namespace, own: UpstreamConfig
) -> None:
    key = "`config.downstream_expert.spknorm.train_feature_extractor`"
    if not args.upstream_trainable:
        raise ConfigError(
            f"{key} has no effect on a frozen upstream: set it to false, or leave out --frozen."
        )
    for name, asked, why in (
        ("lora", own.lora.rank, "trains adapters alone"),
        ("freeze_layers", own.freeze_layers, "keeps all below its layers as it is"),
    ):
        if asked:
            raise ConfigError(
                f"{key} has no effect beside `config.upstream.{name}`, which {why}: set it to "
                f"false, or leave {name} out."
            )
    parts = [part for part in upstream.modules() if hasattr(part, "feature_grad_mult")]
    if not parts:
        raise ConfigError(
            f"{key} has no effect on {args.upstream}, which has no front end that s3prl freezes "
            "(feature_grad_mult): set it to false."
        )
    for part in parts:
        part.feature_grad_mult = 1.0  # type: ignore[assignment]  # a plain attribute in fairseq
    for name, parameter in upstream.named_parameters():
        if own.bitfit and not name.endswith("bias"):
            parameter.requires_grad_(False)


def make_schedulers(
    section: Mapping[str, Any] | None, optimizers: Mapping[str, Optimizer], *, total_steps: int
) -> dict[str, Any]:
    """Return s3prl's scheduler for each optimiser but the ascent, whose rate is lambda.

    `section` was checked with the configuration (`spknorm.config.options`).
    """
    if not section:
        return {}
    from s3prl.schedulers import get_scheduler

    return {
        key: get_scheduler(optimizer, total_steps, dict(section))
        for key, optimizer in optimizers.items()
        if key != "ascent"
    }


def make_source(
    upstream: nn.Module,
    featurizer: Any,
    expert: Any,
    config: TaskConfig,
    *,
    trainable: bool,
    device: torch.device,
) -> Source:
    """Return the upstream itself, or what looks up what it, or its front end, says once.

    Which of the two is a question of time alone: the features are the same.
    """
    split = expert.split
    kind = features.plan(config, upstream_trainable=trainable)
    erases = config.downstream_expert.spknorm.erasure != "none"
    seconds = config.downstream_expert.speaker_corpus.max_seconds
    kept: dict[str, Lookup | None] = {}
    if kind != "off":
        frozen = features.FrozenFeatures(
            upstream, featurizer, kind=kind, config=config.upstream, device=device
        )
        if speakers := _kept_speakers(expert, config, frozen=True):
            kept["speaker"] = frozen.keep(speakers, max_seconds=seconds)
        kept["emotion"] = kept["evaluation"] = frozen.keep([*split.train, *split.dev, *split.test])
        if erases:
            _erase(kept, expert, config=config)
        return Source(frozen.encode, device=device, kept=kept)
    if erases:
        raise ConfigError(_NO_ERASURE)
    encode = make_encoder(upstream, featurizer, config.upstream, trainable=trainable)
    if not (trainable and isinstance(encode, PackedEncoder)) or encode.parts.gradient_share > 0:
        return Source(encode, device=device)
    keep = functools.partial(
        features.keep_front_ends, encode, config=config.upstream, device=device
    )
    precision = DTYPES.get(precision_of(config.runner, device), torch.float32)
    evaluated = DTYPES.get(evaluation_precision(config.runner, device), torch.float32)
    predicted = [*split.dev, *split.test]
    if precision is evaluated:  # -t train costs nothing more
        predicted += split.train
    if speakers := _kept_speakers(expert, config, frozen=False):
        kept["speaker"] = keep(speakers, precision=precision, max_seconds=seconds)
    kept["emotion"] = keep(split.train, precision=precision)
    kept["evaluation"] = keep(predicted, precision=evaluated)
    return Source(encode, device=device, kept=kept)


def _kept_speakers(expert: Any, config: TaskConfig, *, frozen: bool) -> tuple[Utterance, ...]:
    """Return what the speaker head is trained and watched on, where that is the same every epoch.

    It is, if utterances are whole or cropped for good; where crops are drawn there is none.
    """
    if crops_of(config.downstream_expert.speaker_corpus, frozen=frozen) == "drawn":
        return ()
    return (*expert.data.speaker_utterances, *expert.data.held_out.utterances)


_NO_ERASURE = (
    "`config.downstream_expert.spknorm.erasure` works on the pooled features of a frozen upstream: "
    "use --frozen, mean pooling, upstream.packed, and no speaker_corpus.crops drawn."
)


def _erase(kept: Mapping[str, Lookup | None], expert: Any, *, config: TaskConfig) -> None:
    """Put features without the speaker in the place of the emotion corpus' own, layer by layer.

    LEACE is fitted on the speaker corpus, as the adversary is; z-normalisation needs to know who
    speaks in the emotion corpus, its test part included.
    """
    method = config.downstream_expert.spknorm
    leace = method.erasure == "leace"
    emotion, speaker = kept["emotion"], kept.get("speaker")
    if not isinstance(emotion, features.Pooled):
        raise ConfigError(_NO_ERASURE)
    before = emotion.every()  # (N, L, H)
    if leace:
        if not isinstance(speaker, features.Pooled):
            raise ConfigError(_NO_ERASURE)
        reference, labels = speaker.every(), expert.data.speaker_labels
        erasers = fit_layers(reference, labels, rank=method.erasure_rank)
        after = erase_layers(before, erasers)
        share = check_variance_left(before, after, num_classes=expert.num_speakers)
        logger.info(
            "LEACE of %s directions leaves %.3g of the variance of the emotion corpus' features.",
            ", ".join(str(one.rank) for one in erasers),
            share,
        )
    else:
        spoken = [utterance for part in expert.split for utterance in part]
        speakers_of(spoken, "z-normalisation")
        after = normalise_layers(before, [str(utterance.speaker) for utterance in spoken])
    emotion.replace(after)
