"""Settings that exclude each other. After `schema`; `parse` asks for them once all are typed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from spknorm.errors import ConfigError
from spknorm.schema import TaskConfig, UpstreamConfig

_HIGHEST_RATE = 1e30


def check_combinations(config: TaskConfig) -> None:
    """Refuse settings that exclude each other, or that have no effect beside others.

    Raises:
        ConfigError: The message names them, and what to set.
    """
    runner, method, data = (
        config.runner,
        config.downstream_expert.spknorm,
        config.downstream_expert.datarc,
    )

    def refuse(bad: bool, message: str) -> None:
        if bad:
            raise ConfigError(message)

    rates = {f"optimizer.{key}": getattr(config.optimizer, key) for key in ("lr", "weight_decay")}
    groups = config.optimizer.groups
    for name, group in ({} if groups is None else dataclasses.asdict(groups)).items():
        rates |= {f"optimizer.groups.{name}.{key}": value for key, value in group.items()}
    for key in ("speaker_lambda", "ascent_lr"):
        rates[f"downstream_expert.spknorm.{key}"] = getattr(method, key)
    for path, rate in rates.items():
        refuse(
            (rate or 0.0) > _HIGHEST_RATE,
            f"`config.{path}` is {rate}, but {_HIGHEST_RATE:g} is the most that weights of 32 bits "
            "can be moved by.",
        )
    refuse(
        method.update == "adaptive" and method.ascent_lr is None and method.strategy != "none",
        "`config.downstream_expert.spknorm.update` is adaptive, which needs `ascent_lr`, the "
        "learning rate of its ascending Adam (1.0e-6 is a careful start).",
    )
    refuse(
        method.update != "adaptive" and method.ascent_lr is not None,
        f"`config.downstream_expert.spknorm.ascent_lr` has no effect under update {method.update}: "
        "leave it out, or choose update adaptive.",
    )
    for key, default, update in (
        ("ascent_direction", "preconditioned", "relative"),
        ("ascent_clip", None, "literal"),
    ):
        refuse(
            getattr(method, key) != default and method.update != update,
            f"`config.downstream_expert.spknorm.{key}` has no effect under update "
            f"{method.update}: leave it out, or choose update {update}.",
        )
    refuse(
        (data.protocol == "low_resource") != (data.samples_per_label is not None),
        "`config.downstream_expert.datarc.samples_per_label` goes with low_resource alone: "
        f"protocol is {data.protocol}, samples_per_label is {data.samples_per_label}.",
    )
    refuse(
        data.corpus == "manifest" and data.manifest is None,
        "`config.downstream_expert.datarc.manifest` must name a CSV or JSONL file, "
        "since corpus is manifest.",
    )
    refuse(
        not isinstance(data.labels, str) and not _is_label_map(data.labels),
        "`config.downstream_expert.datarc.labels` must be auto, four, all or {map: {word: class}} "
        f"with text or null for a class, but is {shown(data.labels)}.",
    )
    for key, empty, protocol in (
        ("fold_lists", None, "emobox"),
        ("train_with", (), "cross"),
        ("test_on", (), "cross"),
        ("roots", {}, "cross"),
    ):
        refuse(
            getattr(data, key) != empty and data.protocol != protocol,
            f"`config.downstream_expert.datarc.{key}` goes with the protocol {protocol} alone, but "
            f"protocol is {data.protocol}: leave it out.",
        )
    refuse(
        data.protocol == "emobox" and data.fold_lists is None,
        "`config.downstream_expert.datarc.fold_lists` must name the folder of EmoBox's lists of "
        "this corpus, with fold_1, fold_2, ... in it, since protocol is emobox.",
    )
    refuse(
        data.protocol == "cross" and not data.test_on,
        "`config.downstream_expert.datarc.test_on` must name the corpora that are tested, since "
        "protocol is cross.",
    )
    refuse(
        data.protocol == "cross" and not isinstance(data.labels, str),
        "`config.downstream_expert.datarc.labels` {map: ...} names the words of one corpus, and "
        "the protocol cross has several: take auto, four or all.",
    )
    refuse(
        data.targets == "dimensions"
        and (data.class_weights != "none" or data.labels_from != "majority"),
        "`config.downstream_expert.datarc.class_weights` and `labels_from` are of classes, but "
        "targets is dimensions: leave them out.",
    )
    refuse(
        data.targets == "dimensions" and data.protocol == "low_resource",
        "`config.downstream_expert.datarc.protocol` low_resource counts utterances per class, but "
        "targets is dimensions: take another protocol.",
    )
    refuse(
        data.targets == "dimensions" and data.train_batch_size < 2,
        "`config.downstream_expert.datarc.train_batch_size` must be at least 2 with targets "
        "dimensions, since the loss is a correlation over the batch; 16 and more serve better.",
    )
    refuse(
        data.scale is not None and not (len(data.scale) == 2 and data.scale[0] < data.scale[1]),
        "`config.downstream_expert.datarc.scale` must be [least, greatest], but is "
        f"{shown(data.scale)}.",
    )
    refuse(
        data.meta_data is not None and data.labels == "all",
        "`config.downstream_expert.datarc.labels` all has no effect with `meta_data`, whose JSON "
        "holds four classes: leave one of them out.",
    )
    refuse(
        method.erasure != "none" and method.strategy != "none",
        "`config.downstream_expert.spknorm.erasure` is a baseline of its own: "
        "set strategy to none.",
    )
    refuse(
        method.erasure != "leace" and method.erasure_rank is not None,
        "`config.downstream_expert.spknorm.erasure_rank` goes with erasure leace alone, but "
        f"erasure is {method.erasure}: leave it out.",
    )
    refuse(
        runner.fp16 and runner.precision == "bf16",
        "`config.runner.fp16` and `config.runner.precision` bf16 exclude each other.",
    )
    speakers, head = config.downstream_expert.speaker_corpus, config.downstream_expert.modelrc
    pieces = (speakers.batch_size, speakers.micro_batch_size)
    refuse(
        head.speaker_head.batch_norm and 1 in pieces and method.strategy != "none",
        "`config.downstream_expert.modelrc.speaker_head.batch_norm` normalises over each piece of "
        "a speaker batch, so that batch_size and micro_batch_size must be at least 2, but are "
        f"{pieces[0]} and {pieces[1]}.",
    )
    if runner.engine == "spknorm":
        refuse(
            config.specaug is not None,
            "`config.specaug` has no effect under engine spknorm: leave it out, or set "
            "config.runner.engine to s3prl.",
        )
        return
    refuse(
        config.upstream != UpstreamConfig(),
        "`config.upstream` has no effect under engine s3prl: leave it out, or set "
        "config.runner.engine to spknorm.",
    )
    adversarial = method.strategy != "none"
    for bad, key, value in (
        (
            adversarial and method.update != "reversal",
            "downstream_expert.spknorm.update",
            "reversal",
        ),
        (config.optimizer.groups is not None, "optimizer.groups", "null"),
        (runner.clip not in ("auto", "joint"), "runner.clip", "joint"),
        (runner.precision == "bf16", "runner.precision", "fp32"),
        (runner.early_stopping is not None, "runner.early_stopping", "null"),
        (
            method.train_feature_extractor,
            "downstream_expert.spknorm.train_feature_extractor",
            "false",
        ),
        (method.speaker_steps > 1, "downstream_expert.spknorm.speaker_steps", "1"),
        (
            adversarial and method.speaker_pretrain_steps > 0,
            "downstream_expert.spknorm.speaker_pretrain_steps",
            "0",
        ),
        (
            adversarial and config.downstream_expert.speaker_corpus.micro_batch_size is not None,
            "downstream_expert.speaker_corpus.micro_batch_size",
            "null",
        ),
        (method.erasure != "none", "downstream_expert.spknorm.erasure", "none"),
    ):
        refuse(
            bad,
            f"s3prl's own Runner cannot do what `config.{key}` asks: set it to {value}, or set "
            "config.runner.engine to spknorm.",
        )


def shown(value: Any) -> str:
    """Return a value and its type for a message, cut where it is long."""
    text = repr(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}` ({type(value).__name__})"


def _is_label_map(labels: Mapping[str, Any]) -> bool:
    classes = labels.get("map")
    return (
        labels.keys() == {"map"}
        and isinstance(classes, Mapping)
        and len(classes) > 0
        and all(isinstance(word, str) for word in classes)
        and all(name is None or (isinstance(name, str) and name) for name in classes.values())
    )
