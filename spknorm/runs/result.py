"""result.json: what a finished run is, declared once; made by the runner, read by all others.

After `checked.py` and `metrics_log.py` in this folder. No wall clock but `seconds`, so that a
resumed run leaves the same bytes.
"""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spknorm.config import effects, to_mapping
from spknorm.files import write_json
from spknorm.runs.checked import Confusion, Share, build, check_schema, error, read_object
from spknorm.runs.metrics_log import finite
from spknorm.schema import TaskConfig
from spknorm.statistics import metrics

RESULT_SCHEMA = "spknorm.result/1"
_VERSIONS_OF = ("spknorm", "s3prl", "torch", "torchaudio", "transformers", "numpy")
_ARGS = (*effects.ARGUMENTS, "downstream_variant")
"""Arguments of the command line that decide what a run computes."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one part of a fold: WA, UA, macro-F1 (0 to 1) over n utterances."""

    wa: Share
    ua: Share
    macro_f1: Share
    n: int


@dataclass(frozen=True, kw_only=True)
class TestScores(Scores):
    """Of the test set, with the counts behind them: (C, C), row = true class."""

    classes: tuple[str, ...]
    confusion: Confusion
    by_speaker: Mapping[str, Confusion] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """What the adversary did: shares and gains as in metrics.jsonl, of the whole run.

    Attributes:
        ascent_share: Length of the shared part's step by (3) over its step by (1).
        speaker_gain: (log K - speaker loss) / log K: 0 knew nothing, 1 knows every speaker.
        without_effect: It moved too little, or its head knew nothing, to be called by its name.
        doubts: Why, and what to set, as sentences.
    """

    ascent_share: float | None = None
    ascent_angle: float | None = None
    ascents_clipped: float | None = None
    ascents_paused: float | None = None
    ascents_skipped: float | None = None
    speaker_gain: float | None = None
    speaker_accuracy: float | None = None
    chance: float | None = None
    drift: float | None = None
    without_effect: bool = False
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fork:
    """The run whose first steps these are."""

    folder: str
    step: int
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Settings or corpora that had changed when a run was gone on with: (before, then) by path."""

    step: int
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """result.json: one finished run, and what it takes to run it again.

    Attributes:
        speaker_crops: fixed or drawn, None without: what speaker_corpus.crops came to.
        samples_per_label: Of low_resource, as is `draw`.
        best_step: The step whose weights were tested.
        seconds: Wall clock of all parts of the run together.
        num_speakers: K, 0 without a speaker head.
        final: Losses at the last log.
        dev: Scores at the best step; None if the run evaluated no dev set.
        test: The same step's; None if the run was told not to test.
        adversary: None under strategy none, and in files of before it was measured.
        clip: Whose gradients were clipped together; see `runner.clip`.
        corpora: emotion, speaker -> digest of ids, labels, parts and audio stamps; may be empty.
        accepted: What changed on the way; `config` and `corpora` are the last ones.
        config: All settings.
        args: What the command line adds to them.
    """

    schema: str = RESULT_SCHEMA
    task: str
    upstream: str
    strategy: str
    update: str | None = None
    adversary: Adversary | None = None
    speaker_lambda: float | None = None
    clip: str | None = None
    train_feature_extractor: bool = False
    protocol: str
    fold: str
    seed: int
    draw: int | None = None
    samples_per_label: int | None = None
    frozen: bool = False
    steps: int | None = None
    best_step: int | None = None
    seconds: float | None = None
    num_speakers: int = 0
    speaker_crops: str | None = None
    precision: str | None = None
    final: Mapping[str, Any] = field(default_factory=dict)
    dev: Scores | None = None
    test: TestScores | None = None
    corpora: Mapping[str, Any] = field(default_factory=dict)
    forked_from: Fork | None = None
    accepted: tuple[Acceptance, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    args: Mapping[str, Any] = field(default_factory=dict)


def read_result(path: Path) -> Result:
    """Return a result.json, checked.

    Raises:
        ConfigError: It is malformed; the message names file and key.
        MissingError: There is no such file.
    """
    value = read_object(path)
    check_schema(value, RESULT_SCHEMA, path)
    if isinstance(value.get("adversary"), str):  # of before its effect was measured: its loss
        value["adversary"] = None
    result = build(Result, value, path)
    if result.test is None and "test" not in value:
        raise error(path, "test", "is missing")
    if result.test is not None and not 1 <= result.test.n == sum(map(sum, result.test.confusion)):
        problem = "must be the number of utterances in `confusion`, but is"
        raise error(path, "test.n", f"{problem} {result.test.n}")
    return result


def make_result(
    *,
    config: TaskConfig,
    args: Mapping[str, Any],
    fold: str,
    steps: int,
    best_step: int,
    seconds: float,
    num_speakers: int,
    precision: str = "fp32",
    classes: Sequence[str],
    dev: metrics.Scores | None,
    test: metrics.Scores | None,
    by_speaker: Mapping[str, metrics.Scores],
    final: Mapping[str, float | None],
    corpora: Mapping[str, Any] | None = None,
    adversary: Adversary | None = None,
    speaker_crops: str | None = None,
    forked_from: Mapping[str, Any] | None = None,
    accepted: Sequence[Mapping[str, Any]] = (),
) -> Result:
    """Return the record of a run that has ended.

    Args:
        config: All settings.
        args: The command line; what decides about the numbers is kept.
        fold: Name of the test fold.
        steps: Optimiser steps done.
        best_step: The step whose weights were tested.
        seconds: Wall clock of all parts of the run together.
        num_speakers: K, 0 without a speaker head.
        precision: What it computed in: fp32, bf16 or fp16.
        classes: Names of the C emotions.
        dev: Scores at the best step; None if the run evaluated no dev set.
        test: Test scores of the weights of that step; None if nothing was tested.
        by_speaker: Test scores per speaker.
        final: speaker_loss, speaker_accuracy, log_num_speakers, emotion_loss at the last log.
        corpora: What the run saw of them; see spknorm.corpora.digest.
        adversary: What it did; None without one.
        speaker_crops: fixed or drawn; None where no speaker utterance was cropped.
        forked_from: The run whose first steps these are, if any.
        accepted: Step and changes of each time that changes were accepted.
    """
    from spknorm.method.optim import clipping  # with torch, which readers of results do without

    data, method = config.downstream_expert.datarc, config.downstream_expert.spknorm
    return Result(
        task=args.get("downstream"),  # type: ignore[arg-type]  # our own runs always name theirs
        upstream=args.get("upstream"),  # type: ignore[arg-type]
        strategy=method.strategy,
        update=method.update,
        adversary=adversary,
        speaker_lambda=method.speaker_lambda,
        clip=clipping.resolved(config.runner.clip, config.runner.engine),
        train_feature_extractor=method.train_feature_extractor,
        protocol=data.protocol,
        fold=fold,
        seed=args.get("seed"),  # type: ignore[arg-type]
        draw=data.draw,
        samples_per_label=data.samples_per_label,
        frozen=not args.get("upstream_trainable"),
        steps=steps,
        best_step=best_step,
        seconds=round(seconds, 3),
        num_speakers=num_speakers,
        speaker_crops=speaker_crops,
        precision=precision,
        final=final,
        dev=None if dev is None else Scores(**_numbers(dev)),
        test=None if test is None else _test_scores(test, classes, by_speaker),
        corpora=corpora or {},
        forked_from=None if forked_from is None else Fork(**forked_from),
        accepted=tuple(Acceptance(**one) for one in accepted),
        versions=versions(),
        config=to_mapping(config),
        args={name: args.get(name) for name in _ARGS},
    )


def write_result(folder: Path, result: Result) -> None:
    """Write a run's result.json; equal results give equal bytes."""
    write_json(folder / "result.json", to_plain(result))


def to_plain(result: Result) -> dict[str, Any]:
    """Return the content of result.json; what did not happen (a fork, a change) has no key."""
    plain: dict[str, Any] = finite(to_mapping(result))
    for key in ("forked_from", "accepted"):
        if not plain[key]:
            del plain[key]
    return plain


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that decide about the numbers."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    if found["spknorm"] is None:
        from spknorm import __version__

        found["spknorm"] = __version__
    return found


def _test_scores(
    test: metrics.Scores, classes: Sequence[str], by_speaker: Mapping[str, metrics.Scores]
) -> TestScores:
    return TestScores(
        **_numbers(test),
        classes=tuple(classes),
        confusion=test.confusion.tolist(),
        by_speaker={name: by_speaker[name].confusion.tolist() for name in sorted(by_speaker)},
    )


def _numbers(scores: metrics.Scores) -> dict[str, Any]:
    return {"wa": scores.wa, "ua": scores.ua, "macro_f1": scores.macro_f1, "n": scores.n}
