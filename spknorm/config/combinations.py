"""Settings that exclude each other. After `schema`; `parse` asks for them once all are typed."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from spknorm.config.typed import shown
from spknorm.errors import ConfigError
from spknorm.schema import TaskConfig, UpstreamConfig

Rules = Iterator[tuple[bool, str]]
"""Whether something is wrong, and how it is told; the first that is wrong counts."""
_HIGHEST_RATE = 1e30
_METHOD, _DATA, _SPEAKERS = (
    f"config.downstream_expert.{name}" for name in ("spknorm", "datarc", "speaker_corpus")
)


def check_combinations(config: TaskConfig) -> None:
    """Refuse settings that exclude each other, or that have no effect beside others.

    Raises:
        ConfigError: The message names them, and what to set.
    """
    for rules in (_rates, _of_ascent, _of_protocol, _of_targets, _of_training, _of_engine):
        for is_wrong, text in rules(config):
            if is_wrong:
                raise ConfigError(text)


def _rates(config: TaskConfig) -> Rules:
    optimizer, method = config.optimizer, config.downstream_expert.spknorm
    rates = {f"optimizer.{key}": getattr(optimizer, key) for key in ("lr", "weight_decay")}
    groups = {} if optimizer.groups is None else dataclasses.asdict(optimizer.groups)
    for name, group in groups.items():
        rates |= {f"optimizer.groups.{name}.{key}": value for key, value in group.items()}
    for key in ("speaker_lambda", "ascent_lr"):
        rates[f"downstream_expert.spknorm.{key}"] = getattr(method, key)
    for path, rate in rates.items():
        yield (
            (rate or 0.0) > _HIGHEST_RATE,
            f"`config.{path}` is {rate}, but {_HIGHEST_RATE:g} is the most that weights of 32 bits "
            "can be moved by.",
        )


def _of_ascent(config: TaskConfig) -> Rules:
    method = config.downstream_expert.spknorm
    needs_rate = method.update == "adaptive" and method.strategy != "none"
    yield (
        needs_rate and method.ascent_lr is None,
        f"`{_METHOD}.update` is adaptive, which needs `ascent_lr`, the "
        "learning rate of its ascending Adam (1.0e-6 is a careful start).",
    )
    for key, default, update in (
        ("ascent_lr", None, "adaptive"),
        ("ascent_direction", "auto", "relative"),
        ("ascent_clip", None, "literal"),
        ("relative_to", "auto", "relative"),
    ):
        yield (
            getattr(method, key) != default and method.update != update,
            f"`{_METHOD}.{key}` has no effect under update {method.update}: leave it out, or "
            f"choose update {update}.",
        )

    yield (
        method.relative_to == "loss" and method.adversary == "ascent",
        f"`{_METHOD}.relative_to` loss goes with adversary confusion or entropy: the paper's "
        "ascent has no end, of which an ascent could take a share.",
    )


def _of_protocol(config: TaskConfig) -> Rules:
    data = config.downstream_expert.datarc
    is_cross = data.protocol == "cross"
    yield (
        (data.protocol == "low_resource") != (data.samples_per_label is not None),
        f"`{_DATA}.samples_per_label` goes with low_resource alone: "
        f"protocol is {data.protocol}, samples_per_label is {data.samples_per_label}.",
    )
    yield (
        data.corpus == "manifest" and data.manifest is None,
        f"`{_DATA}.manifest` must name a CSV or JSONL file, since corpus is manifest.",
    )
    yield (
        not isinstance(data.labels, str) and not _is_label_map(data.labels),
        f"`{_DATA}.labels` must be auto, four, all or {{map: {{word: class}}}} "
        f"with text or null for a class, but is {shown(data.labels)}.",
    )
    for key, empty, protocol in (
        ("fold_lists", None, "emobox"),
        ("train_with", (), "cross"),
        ("test_on", (), "cross"),
        ("roots", {}, "cross"),
    ):
        yield (
            getattr(data, key) != empty and data.protocol != protocol,
            f"`{_DATA}.{key}` goes with the protocol {protocol} alone, but "
            f"protocol is {data.protocol}: leave it out.",
        )
    yield (
        data.protocol == "emobox" and data.fold_lists is None,
        f"`{_DATA}.fold_lists` must name the folder of EmoBox's lists of "
        "this corpus, with fold_1, fold_2, ... in it, since protocol is emobox.",
    )
    yield (
        is_cross and not data.test_on,
        f"`{_DATA}.test_on` must name the corpora that are tested, since protocol is cross.",
    )
    yield (
        is_cross and not isinstance(data.labels, str),
        f"`{_DATA}.labels` {{map: ...}} names the words of one corpus, and "
        "the protocol cross has several: take auto, four or all.",
    )


def _of_targets(config: TaskConfig) -> Rules:
    data = config.downstream_expert.datarc
    by_dimensions = data.targets == "dimensions"
    yield (
        by_dimensions and (data.class_weights != "none" or data.labels_from != "majority"),
        f"`{_DATA}.class_weights` and `labels_from` are of classes, but "
        "targets is dimensions: leave them out.",
    )
    yield (
        by_dimensions and data.protocol == "low_resource",
        f"`{_DATA}.protocol` low_resource counts utterances per class, but "
        "targets is dimensions: take another protocol.",
    )
    yield (
        by_dimensions and data.train_batch_size < 2,
        f"`{_DATA}.train_batch_size` must be at least 2 with targets "
        "dimensions, since the loss is a correlation over the batch; 16 and more serve better.",
    )
    yield (
        data.scale is not None and not (len(data.scale) == 2 and data.scale[0] < data.scale[1]),
        f"`{_DATA}.scale` must be [least, greatest], but is {shown(data.scale)}.",
    )
    yield (
        data.meta_data is not None and data.labels == "all",
        f"`{_DATA}.labels` all has no effect with `meta_data`, whose JSON "
        "holds four classes: leave one of them out.",
    )


def _of_training(config: TaskConfig) -> Rules:
    runner, expert = config.runner, config.downstream_expert
    method, speakers = expert.spknorm, expert.speaker_corpus
    yield (
        method.erasure != "none" and method.strategy != "none",
        f"`{_METHOD}.erasure` is a baseline of its own: set strategy to none.",
    )
    yield (
        method.erasure != "leace" and method.erasure_rank is not None,
        f"`{_METHOD}.erasure_rank` goes with erasure leace alone, but "
        f"erasure is {method.erasure}: leave it out.",
    )
    yield (
        runner.fp16 and runner.precision == "bf16",
        "`config.runner.fp16` and `config.runner.precision` bf16 exclude each other.",
    )
    pieces = (speakers.batch_size, speakers.micro_batch_size)
    normalises = expert.modelrc.speaker_head.batch_norm
    yield (
        normalises and 1 in pieces and method.strategy != "none",
        "`config.downstream_expert.modelrc.speaker_head.batch_norm` normalises over each piece of "
        "a speaker batch, so that batch_size and micro_batch_size must be at least 2, but are "
        f"{pieces[0]} and {pieces[1]}.",
    )


def _of_engine(config: TaskConfig) -> Rules:
    """What only one of the two engines can do; first what has no effect under one."""
    ours = config.runner.engine == "spknorm"
    yield (
        ours and config.specaug is not None,
        "`config.specaug` has no effect under engine spknorm: leave it out, or set "
        "config.runner.engine to s3prl.",
    )
    yield (
        not ours and config.upstream != UpstreamConfig(),
        "`config.upstream` has no effect under engine s3prl: leave it out, or set "
        "config.runner.engine to spknorm.",
    )
    runner, expert = config.runner, config.downstream_expert
    method, adversarial = expert.spknorm, expert.spknorm.strategy != "none"
    micro_batch = expert.speaker_corpus.micro_batch_size
    for asked, path, instead in (
        (adversarial and method.update != "reversal", f"{_METHOD}.update", "reversal"),
        (config.optimizer.groups is not None, "config.optimizer.groups", "null"),
        (runner.clip not in ("auto", "joint"), "config.runner.clip", "joint"),
        (runner.precision == "bf16", "config.runner.precision", "fp32"),
        (runner.early_stopping is not None, "config.runner.early_stopping", "null"),
        (method.train_feature_extractor, f"{_METHOD}.train_feature_extractor", "false"),
        (method.speaker_steps > 1, f"{_METHOD}.speaker_steps", "1"),
        (adversarial and method.speaker_pretrain_steps, f"{_METHOD}.speaker_pretrain_steps", "0"),
        (adversarial and micro_batch is not None, f"{_SPEAKERS}.micro_batch_size", "null"),
        (method.erasure != "none", f"{_METHOD}.erasure", "none"),
    ):
        yield (
            bool(not ours and asked),
            f"s3prl's own Runner cannot do what `{path}` asks: set it to {instead}, or set "
            "config.runner.engine to spknorm.",
        )


def _is_label_map(labels: Mapping[str, Any]) -> bool:
    classes = labels.get("map")
    return (
        labels.keys() == {"map"}
        and isinstance(classes, Mapping)
        and len(classes) > 0
        and all(isinstance(word, str) for word in classes)
        and all(name is None or (isinstance(name, str) and name) for name in classes.values())
    )
