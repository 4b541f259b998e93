"""The probes that one question takes: every kind on what the head sees, with shuffled labels, too.

Legend: N utterances, L hidden states, H upstream dimension.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from spknorm.probe import Pooled, ProbeScore, run_probe
from spknorm.probe.arrays import Floats, Layers
from spknorm.probe.audit.pooling import Done, PooledFeatures, own_model, pool_features
from spknorm.probe.audit.questions import Asked, Question, question_of
from spknorm.probe.audit.runs import find_runs
from spknorm.probe.corpus import ProbeDataConfig, read_labelled
from spknorm.registry import register
from spknorm.runs.probes import ProbeRow

KINDS = ("linear", "mlp", "knn", "eer")
"""Probes of what the emotion head sees."""
_KINDS_BY_LABEL = {"emotion": ("linear",)}
_CONTROLS = (None, "shuffled")


def kinds_for(question: Question) -> list[str]:
    """Return the probes of a question; verification needs two utterances of someone."""
    pairs = np.bincount(question.truth).max() > 1
    kinds = _KINDS_BY_LABEL.get(question.label, KINDS)
    return [kind for kind in kinds if kind != "eer" or pairs]


def num_probes(question: Question, *, every_layer: bool) -> int:
    """Return how many probes a question takes of one upstream, its layers counted as a dozen."""
    return len(_CONTROLS) * (len(kinds_for(question)) + 1 + (12 if every_layer else 0))


def run_probes(
    question: Question,
    pooled: PooledFeatures,
    asked: Asked,
    *,
    about: Mapping[str, Any],
    done: Done = lambda count: None,
) -> list[ProbeRow]:
    """Return the row of every probe and control of one question.

    `about` are upstream, stage, variant, frozen and run of the rows.
    """
    train, test = pooled.of(question, "train"), pooled.of(question, "test")
    layers = train.shape[1] - 1
    summed = slice(0, layers + 1 if pooled.gated else layers)
    plan: list[tuple[str, str, int | slice]] = [
        (kind, "head", layers) for kind in kinds_for(question)
    ]
    plan += [("weighted", "weighted", summed)] if layers else []
    plan += [("linear", str(layer), layer) for layer in range(layers if asked.every_layer else 0)]
    rows: list[ProbeRow] = []
    for (kind, layer, at), control in product(plan, _CONTROLS):
        found = run_probe(
            kind,
            Pooled(_at(train, at), question.classes),
            Pooled(_at(test, at), question.truth, question.clusters),
            control=control,
            seed=asked.seed,
            whole=question.to_learn,
        )
        done(1)
        drawn = {"drawn_from": question.held_out} if question.held_out > len(test) else {}
        if found.on_sample is not None:
            drawn |= {"learnt_on": len(train), "learnt_of": question.to_learn}
        probe = "linear" if kind == "weighted" else kind
        where = {"probe": probe, "layer": layer, "control": control, "seed": asked.seed}
        rows.append(row_of(question, found, **about, **where, **drawn))
        if about["stage"] == "raw" and layer == "head" and control is None:
            rows.append(_chance(rows[-1], found.chance))
    return rows


def row_of(question: Question, found: ProbeScore, **about: Any) -> ProbeRow:
    """Return the row of a probe; `about` are all fields that neither question nor score tells."""
    return ProbeRow(
        **about,
        corpus=question.corpus,
        label=question.label,
        accuracy=found.score,
        low=found.low,
        high=found.high,
        n=found.n,
        num_classes=found.num_classes,
        on_sample=found.on_sample,
    )


def dev_leakage(folder: Path, *, device: str = "cpu", seed: int = 0) -> float:
    """Return the accuracy of a fresh linear speaker probe on what a run's emotion head sees.

    The one probe that may be asked before anything is reported: it learns on the speaker corpus'
    training part and is scored on its dev part; the part that an audit reports on stays unseen, so
    that settings may be chosen by this number.

    Raises:
        MissingError: There is no finished run, or a corpus is not there.
        DataError: The speaker corpus cannot be probed.
    """
    register()
    (run,) = find_runs([Path(folder)], every_run=True)
    expert = run.settings.downstream_expert
    sizes = ProbeDataConfig.of(expert.datarc)
    split = read_labelled(expert.speaker_corpus, sizes, seed=seed, work_dir=run.folder)
    question = question_of("speaker", split, ("train",), "dev")
    pooled = pool_features(run, own_model(run, device), [question], device=device)
    train = Pooled(pooled.of(question, "train").layer(-1), question.classes)
    test = Pooled(pooled.of(question, "test").layer(-1), question.truth, question.clusters)
    return run_probe("linear", train, test, seed=seed).score


def _chance(row: ProbeRow, share: float) -> ProbeRow:
    """Return the row of the most frequent class, which learns nothing."""
    row = replace(row, on_sample=None, learnt_on=None, learnt_of=None)
    return replace(row, control="chance", accuracy=share, low=share, high=share)


def _at(features: Layers, at: int | slice) -> Floats | Layers:
    return features.part(at) if isinstance(at, slice) else features.layer(at)
