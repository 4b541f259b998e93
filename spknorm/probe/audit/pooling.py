"""Features of the utterances that an audit probes, averaged over time: each layer, and the head's.

What the emotion head sees is computed as in training: the run's featurizer on the upstream's
output, and SNP's gate behind it. One forward pass per upstream and utterance, none for what the
cache already has.

Legend: N utterances, T frames, L hidden states, H upstream dimension.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spknorm import upstreams
from spknorm.corpora.records import Utterance
from spknorm.errors import NonFiniteError
from spknorm.features import fingerprint
from spknorm.features.reader import CachedReader
from spknorm.features.reading import Reading
from spknorm.probe.arrays import Layers, blocks_of, let_go
from spknorm.probe.audit.questions import Question
from spknorm.probe.audit.runs import Run
from spknorm.runs.pooled import Features, write_features
from spknorm.runs.trained import load, make_featurizer

Floats = NDArray[np.float32]
Places = dict[tuple[str, str], int]
"""Row of an utterance by corpus and id."""
Done = Callable[[int], None]
"""Called with a number of utterances or probes that are done."""
_MOST_DRAWN = 2000


class Model(NamedTuple):
    """What an audit runs.

    s3prl's upstream and featurizer, in evaluation mode, and SNP's gate if there is one.
    """

    upstream: nn.Module
    featurizer: Any
    gate: nn.Module | None = None


def own_model(run: Run, device: str) -> Model:
    """Return a run's model at its best dev step."""
    trained = load(run.folder, device=device)
    return Model(trained.upstream, trained.featurizer, trained.heads.gate)


def raw_model(run: Run, device: str) -> Model:
    """Return the upstream that a run began with, and its featurizer with untrained weights."""
    upstream = upstreams.build(run.args, device=device, folder=run.folder).upstream.eval()
    return Model(upstream, make_featurizer(upstream, run.args, device=device).eval())


class PooledFeatures(NamedTuple):
    """Features of every utterance of the questions, averaged over time, and where each stands.

    Attributes:
        features: (N, L + 1, H), a layer at a time: the hidden states, and last what the emotion
            head sees. L is 0 where the head's features have another size.
        places: Of them.
        gated: What the head sees is no sum of the hidden states.
    """

    features: Layers
    places: Places
    gated: bool

    def of(self, question: Question, part: str) -> Layers:
        """Return the features (N, L + 1, H) of a question's `train` or `test`."""
        utterances = getattr(question, part)
        return self.features[[self.places[question.corpus, u.id] for u in utterances]]


def pool_features(
    run: Run,
    model: Model,
    questions: Sequence[Question],
    *,
    device: str,
    done: Done = lambda count: None,
) -> PooledFeatures:
    """Run a model over each utterance of the questions once.

    `done` is called with the number of utterances that are done, now and then.

    Raises:
        NonFiniteError: Some features are NaN or infinite.
    """

    def compute(wavs: list[Tensor]) -> list[NDArray[Any]]:
        done(len(wavs))
        return list(_pooled(model, wavs).cpu().numpy())

    gate = [] if model.gate is None else [model.gate]
    about = {
        "audit": "hidden states, and what the head sees",
        "model": fingerprint(model.upstream, model.featurizer, *gate),
    }
    reader = cached_reader(run, compute, about, device)
    found, places = read_questions(run, reader, questions)
    return PooledFeatures(end_to_end([*found.values()]), places, model.gate is not None)


def cached_reader(
    run: Run, compute: Callable[[list[Tensor]], Any], about: dict[str, str], device: str
) -> CachedReader:
    """Return what reads or computes pooled features, cached as the run says."""
    return CachedReader(
        compute, about=about, config=run.settings.upstream, pooled=True, device=device
    )


def read_questions(
    run: Run, reader: CachedReader, questions: Sequence[Question]
) -> tuple[dict[str, Layers], Places]:
    """Return a reader's arrays (N, L, H) of each corpus, and where an utterance stands in all.

    Raises:
        NonFiniteError: As `read_through`.
    """
    found: dict[str, Layers] = {}
    places: Places = {}
    for corpus, utterances in utterances_of(questions).items():
        places |= {(corpus, u.id): len(places) + number for number, u in enumerate(utterances)}
        found[corpus] = read_through(run, reader, utterances, corpus)
    return found, places


def read_through(
    run: Run, reader: CachedReader, utterances: Sequence[Utterance], corpus: str
) -> Layers:
    """Return a reader's arrays (N, L, H) of some utterances, from the cache where there is room.

    What the cache has stays on the disk and is read a layer at a time.

    Raises:
        NonFiniteError: Some are NaN or infinite.
    """
    seconds = run.max_seconds(corpus)
    keys = reader.fill(utterances, max_seconds=seconds)
    if keys is None:
        found = Layers.of(reader.read(utterances, max_seconds=seconds))
    else:
        found = stored([reader.store[key] for key in keys])
    finite = np.ones(len(utterances), bool)
    for layer in range(found.shape[1]):
        finite &= np.isfinite(found.layer(layer)).all(axis=1)
    bad = [utterances[number].id for number in np.flatnonzero(~finite).tolist()]
    if bad:
        raise NonFiniteError(
            f"The upstream gives NaN or infinity for {len(bad)} of {len(utterances)} utterances "
            f"({', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}): they cannot be probed."
        )
    return found


def end_to_end(blocks: Sequence[Layers]) -> Layers:
    """Return the features of several corpora as one, (N, L, H)."""
    if len(blocks) == 1:
        return blocks[0]
    shape = (sum(map(len, blocks)), *blocks[0].shape[1:])
    return Layers(lambda layer: np.concatenate([one.layer(layer) for one in blocks]), shape)


def stored(arrays: Sequence[NDArray[Any]]) -> Layers:
    """Return stored arrays, N x (1, L, H), that are views of memory-mapped files."""
    arrays = [np.asarray(array) for array in arrays]  # numpy's memmap takes long to take a part of

    def read(layer: int) -> Floats:
        found = np.empty((len(arrays), arrays[0].shape[2]), np.float32)
        for block in blocks_of(len(arrays)):
            own = arrays[block]
            np.stack([array[0, layer] for array in own], out=found[block])
            let_go(*own)
        return found

    return Layers(read, (len(arrays), *arrays[0].shape[1:]))


def utterances_of(questions: Sequence[Question]) -> dict[str, list[Utterance]]:
    """Return every utterance of the questions once, by corpus."""
    found: dict[str, dict[str, Utterance]] = {}
    for question in questions:
        own = {u.id: u for u in (*question.train, *question.test)}
        found.setdefault(question.corpus, {}).update(own)
    return {corpus: list(utterances.values()) for corpus, utterances in found.items()}


def write_picture(
    path: Path, question: Question, pooled: PooledFeatures, upstream: str, stage: str
) -> None:
    """Write what the head sees of a question's first 2000 utterances, for a picture."""
    utterances = (*question.train, *question.test)[:_MOST_DRAWN]
    parts = (pooled.of(question, part).layer(-1) for part in ("train", "test"))
    values = np.concatenate(list(parts))[:_MOST_DRAWN]
    speakers, emotions = ([str(getattr(one, key)) for one in utterances]
                          for key in ("speaker", "emotion"))  # fmt: skip
    write_features(path, Features(upstream, stage, values, speakers, emotions))


def _pooled(model: Model, wavs: list[Tensor]) -> Tensor:
    """Return (B, 1, L + 1, H) of B waveforms of one length."""
    output = model.upstream(wavs)
    frames = model.featurizer(wavs, output)  # B x (T, H)
    if model.gate is not None:
        frames = [model.gate(own) for own in frames]
    head = torch.stack([own.float().mean(dim=0) for own in frames])[:, None, None]
    if "hidden_states" not in output:
        return head
    rate = model.featurizer.downsample_rate
    reading = Reading("hidden_states", None, normalize=False, rate=rate, pooled=True)
    layers = reading(output, len(wavs[0]))  # (B, 1, L, H)
    return torch.cat([layers, head], dim=2) if layers.shape[-1] == head.shape[-1] else head
