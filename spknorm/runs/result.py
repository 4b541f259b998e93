"""result.json: what a finished run is, declared once; made in `outcome.py`, read by all others.

After `checked.py` and `metrics_log.py` in this folder. No wall clock but `seconds`, so that a
resumed run leaves the same bytes.
"""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spknorm.config import to_mapping
from spknorm.errors import ConfigError
from spknorm.files import write_json
from spknorm.protocols.owners import Splitting
from spknorm.runs.checked import build, read_object
from spknorm.runs.metrics_log import finite
from spknorm.runs.scored import Dimensions, Scores, TestScores

RESULT_SCHEMA = "spknorm.result/1"
_VERSIONS_OF = ("s3prl", "torch", "torchaudio", "transformers", "numpy")
_SELDOM = ("forked_from", "accepted", "dimensions", "split", "computing")


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
class Computing:
    """What ran, as result.json and log.log name it; none of it is the method's.

    Attributes:
        device: cpu, or the GPU's name.
        precision: fp32, bf16 or fp16; what `runner.precision: auto` came to.
        attention: Each way in which training steps computed it, in words; none where the upstream
            is run by its own code, or its features are looked up.
        tf32: What of float32 a GPU rounded to TF32: products, convolutions.
        fused: The optimisers take their steps in torch's fused kernels.
        compiled: The upstream's layers went through torch.compile.
        recorded: They were replayed as CUDA graphs.
        most_frames: Padded frames that passed it at once at the end; None: memory was never short.
        recomputes: Activations were recomputed in the backward pass at the end.
        keeps_on_host: What an iteration keeps lay in the main memory at the end.
    """

    device: str
    precision: str
    attention: tuple[str, ...] = ()
    tf32: tuple[str, ...] = ()
    fused: bool = False
    compiled: bool = False
    recorded: bool = False
    most_frames: int | None = None
    recomputes: bool = False
    keeps_on_host: bool = False

    def __str__(self) -> str:
        """Return it as one line."""
        parts = [f"{self.precision} on {self.device}"]
        parts += [f"TF32 in {' and '.join(self.tf32)}"] if self.tf32 else []
        parts += [f"attention {' or '.join(self.attention)}"] if self.attention else []
        parts += ["fused optimisers"] if self.fused else []
        parts += ["compiled layers"] if self.compiled else []
        parts += ["layers replayed as CUDA graphs"] if self.recorded else []
        if self.most_frames is not None:
            parts.append(f"at most {self.most_frames} frames at once")
        parts += ["activations recomputed"] if self.recomputes else []
        parts += ["what an iteration keeps in the main memory"] if self.keeps_on_host else []
        return "computed in " + ", ".join(parts)


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
        final: Losses at the last log.
        dev: Scores at the best step; None if the run evaluated no dev set.
        test: The same step's; None if the run was told not to test.
        dimensions: What a run that predicts dimensions scored; `dev` and `test` are None then.
        split: Who made the folds, by name; None in files of earlier versions.
        adversary: None under strategy none, and in files of before it was measured.
        clip: Whose gradients were clipped together; see `runner.clip`.
        computing: What ran: kernels, shortcuts, how batches were cut; None in earlier files.
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
    computing: Computing | None = None
    final: Mapping[str, Any] = field(default_factory=dict)
    dev: Scores | None = None
    test: TestScores | None = None
    dimensions: Dimensions | None = None
    split: Splitting | None = None
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
    value = read_object(path, RESULT_SCHEMA)
    if isinstance(value.get("adversary"), str):  # of before its effect was measured: its loss
        value["adversary"] = None
    result = build(Result, value, path)
    test = result.test
    if test is None:
        if result.dimensions is None and "test" not in value:
            raise ConfigError(f"{path}: `test` is missing.")
        return result
    counts = {"confusion": test.confusion}
    counts |= {f"by_speaker.{name}": own for name, own in test.by_speaker.items()}
    for key, rows in counts.items():
        if len(rows) != len(test.classes):
            raise ConfigError(
                f"{path}: `test.{key}` must have a row and a column for each of the "
                f"{len(test.classes)} classes, but has {len(rows)}."
            )
    if not 1 <= test.n == sum(map(sum, test.confusion)):
        raise ConfigError(
            f"{path}: `test.n` must be the number of utterances in `confusion`, but is {test.n}."
        )
    return result


def write_result(folder: Path, result: Result) -> None:
    """Write a run's result.json; equal results give equal bytes."""
    write_json(folder / "result.json", to_plain(result))


def to_plain(result: Result) -> dict[str, Any]:
    """Return the content of result.json; what did not happen, or few runs have, has no key."""
    plain: dict[str, Any] = finite(to_mapping(result))
    return {key: value for key, value in plain.items() if key not in _SELDOM or value}


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that decide about the numbers.

    Our own is what runs: a checkout that was installed once knows only the version of that day.
    """
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    from spknorm import __version__

    return found | {"spknorm": __version__}
