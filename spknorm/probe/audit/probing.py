"""The probes that one question takes: every kind on what the head sees, with shuffled labels, too.

Legend: N utterances, L hidden states, H upstream dimension.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spknorm.probe import Pooled, ProbeScore, run_probe
from spknorm.probe.arrays import Floats, Layers
from spknorm.probe.audit.pooling import Done, PooledFeatures
from spknorm.probe.audit.questions import Question
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
    *,
    about: Mapping[str, Any],
    every_layer: bool,
    seed: int,
    done: Done = lambda count: None,
) -> list[ProbeRow]:
    """Return the row of every probe and control of one question.

    Args:
        question: The label, and who is held out.
        pooled: Features of its utterances.
        about: upstream, stage, variant, frozen and run of the rows.
        every_layer: Also a linear probe of each hidden state.
        seed: Of the probes.
        done: Called after every probe.
    """
    train, test = pooled.of(question, "train"), pooled.of(question, "test")
    layers = train.shape[1] - 1
    summed = slice(0, layers + 1 if pooled.gated else layers)
    plan: list[tuple[str, str, int | slice]] = [
        (kind, "head", layers) for kind in kinds_for(question)
    ]
    plan += [("weighted", "weighted", summed)] if layers else []
    plan += [("linear", str(layer), layer) for layer in range(layers if every_layer else 0)]
    rows = []
    for kind, layer, at in plan:
        for control in _CONTROLS:
            found = run_probe(
                kind,
                Pooled(_at(train, at), question.classes),
                Pooled(_at(test, at), question.truth, question.clusters),
                control=control,
                seed=seed,
                whole=question.to_learn,
            )
            done(1)
            row = _row(question, found, layer, about)
            rows.append(row)
            if about["stage"] == "raw" and layer == "head" and control is None:
                rows.append(_chance(row, found.chance))
    return rows


def _row(question: Question, found: ProbeScore, layer: str, about: Mapping[str, Any]) -> ProbeRow:
    extrapolated = found.on_sample is not None
    return ProbeRow(
        **about,
        corpus=question.corpus,
        label=question.label,
        probe="linear" if found.probe == "weighted" else found.probe,
        layer=layer,
        control=found.control,
        accuracy=found.score,
        low=found.low,
        high=found.high,
        n=found.n,
        drawn_from=question.held_out if question.held_out > len(question.test) else None,
        on_sample=found.on_sample,
        learnt_on=len(question.train) if extrapolated else None,
        learnt_of=question.to_learn if extrapolated else None,
        num_classes=found.num_classes,
        seed=found.seed,
    )


def _chance(row: ProbeRow, share: float) -> ProbeRow:
    """Return the row of the most frequent class, which learns nothing."""
    row = replace(row, on_sample=None, learnt_on=None, learnt_of=None)
    return replace(row, control="chance", accuracy=share, low=share, high=share)


def _at(features: Layers, at: int | slice) -> Floats | Layers:
    return features.part(at) if isinstance(at, slice) else features.layer(at)
