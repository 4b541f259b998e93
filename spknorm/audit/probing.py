"""One upstream heard once, and every question asked of what it said.

Legend: N utterances, L layers, H upstream dimension.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.audit.questions import Question
from spknorm.features import pooled_features
from spknorm.files import atomic_path
from spknorm.probe import Pooled, ProbeScore, run_probe
from spknorm.schema import UpstreamConfig

Floats = NDArray[np.float32]

KINDS = ("linear", "mlp", "knn", "eer")
"""Probes of what the emotion head sees: the last hidden state, under SNP behind the gate."""
_KINDS_BY_LABEL = {"emotion": ("linear",)}


class AuditRow(NamedTuple):
    """One probe: a row of probe.json; fractions. For `eer`, `accuracy` is the equal error rate.

    Attributes:
        upstream: Name on s3prl's hub.
        stage: raw, none, SNP or TAP.
        frozen: Whether the upstream kept its weights.
        run: Folder of the experiment.
        corpus: speaker or emotion.
        label: What was probed.
        probe: A key of spknorm.probe.PROBES, or eer.
        layer: last, weighted or the index of a hidden state.
        control: None; shuffled: the same with permuted labels; chance: the most frequent class.
        accuracy: Of the test utterances.
        low: Lower end of the 95 % interval over speakers.
        high: Its upper end.
        n: Test utterances; trials for eer.
        num_classes: Classes of the label.
        seed: Of the probe.
    """

    upstream: str
    stage: str
    frozen: bool
    run: str
    corpus: str
    label: str
    probe: str
    layer: str | int
    control: str | None
    accuracy: float
    low: float
    high: float
    n: int
    num_classes: int
    seed: int


class Heard(NamedTuple):
    """Pooled features (N, L, H) of every utterance of the questions, and where each stands."""

    features: Floats
    places: dict[tuple[str, str], int]

    def of(self, question: Question, part: str) -> Floats:
        """Return the features (N, L, H) of a question's `train` or `test`."""
        utterances = getattr(question, part)
        return self.features[[self.places[question.corpus, u.id] for u in utterances]]


def hear(
    upstream: Any,
    questions: Sequence[Question],
    *,
    max_seconds: float | None,
    config: UpstreamConfig,
    device: str,
) -> Heard:
    """Run the upstream over each utterance of the questions once.

    Args:
        upstream: s3prl's.
        questions: Whose utterances; one that several share is heard once.
        max_seconds: Longer utterances of the speaker corpus are cropped to this.
        config: Where features are cached.
        device: Where the upstream is.
    """
    blocks: list[Floats] = []
    places: dict[tuple[str, str], int] = {}
    for corpus in dict.fromkeys(question.corpus for question in questions):
        asked = [q for q in questions if q.corpus == corpus]
        utterances = {u.id: u for q in asked for u in (*q.train, *q.test)}
        start = sum(len(block) for block in blocks)
        places |= {(corpus, key): start + number for number, key in enumerate(utterances)}
        blocks.append(
            pooled_features(
                upstream,
                list(utterances.values()),
                config=config,
                max_seconds=max_seconds if corpus == "speaker" else None,
                device=device,
            )
        )
    return Heard(np.concatenate(blocks), places)


def ask(
    question: Question, heard: Heard, *, every_layer: bool, seed: int
) -> Iterator[tuple[str | int, ProbeScore]]:
    """Yield (layer, score) of every probe and control of one question."""
    train, test = heard.of(question, "train"), heard.of(question, "test")

    def at(layer: int | slice) -> tuple[Pooled, Pooled]:
        return (
            Pooled(train[:, layer], question.classes),
            Pooled(test[:, layer], question.truth, question.clusters),
        )

    pairs = np.bincount(question.truth).max() > 1  # verification needs two utterances of someone
    for kind in _KINDS_BY_LABEL.get(question.label, KINDS):
        if kind == "eer" and not pairs:
            continue
        for control in (None, "shuffled"):
            yield "last", run_probe(kind, *at(-1), control=control, seed=seed)
    for control in (None, "shuffled"):
        yield "weighted", run_probe("weighted", *at(slice(None)), control=control, seed=seed)
    for layer in range(train.shape[1] if every_layer else 0):
        for control in (None, "shuffled"):
            yield layer, run_probe("linear", *at(layer), control=control, seed=seed)


def write_picture(
    path: Path, question: Question, heard: Heard, *, upstream: str, stage: str, most: int = 2000
) -> None:
    """Write the last layer's features of a question about emotion, for a picture (float16)."""
    utterances = (*question.train, *question.test)[:most]
    features = np.concatenate([heard.of(question, "train"), heard.of(question, "test")])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            features=features[:most, -1].astype(np.float16),
            speaker=np.array([str(utterance.speaker) for utterance in utterances]),
            emotion=np.array([str(utterance.emotion) for utterance in utterances]),
            stage=np.array(stage),
            upstream=np.array(upstream),
        )
