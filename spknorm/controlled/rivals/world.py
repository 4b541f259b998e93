"""What a rival may learn from, and what it gives back.

First of the rivals. Legend: N utterances of the emotion corpus, M of the speaker corpus, D
dimensions of a pooled utterance, C emotions.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spknorm.controlled import frozen
from spknorm.controlled.pool import Floats, Integers
from spknorm.demo.synthesis import FloatArray

NUM_EMOTIONS = 4


class Known(NamedTuple):
    """The training part of one fold, standardised.

    Attributes:
        emotional: (N, D) training utterances.
        emotion: (N,) their emotions.
        who: (N,) their speakers.
        neutral: (M, D) training part of the speaker corpus.
        speaker: (M,) its speakers, from 0.
    """

    emotional: Floats
    emotion: Integers
    who: Integers
    neutral: Floats
    speaker: Integers

    @property
    def data(self) -> frozen.Data:
        """The same for the product's own training on frozen features."""
        return frozen.Data(self.emotional, self.emotion, self.neutral, self.speaker)


class Fitted(NamedTuple):
    """A trained rival.

    Attributes:
        predict: Emotions (N,) of features (N, D) of the speakers (N,), all of them at once: what is
            said of one utterance may depend on the others of its speaker.
        represent: What the emotion head sees (N, D') of the same.
        num_parameters: What is kept for prediction.
    """

    predict: Callable[[Floats, Integers], Integers]
    represent: Callable[[Floats, Integers], Floats]
    num_parameters: int


def plain(known: Known, settings: frozen.Settings, seed: int) -> Fitted:
    """Train the emotion head alone, as strategy none does."""
    return of_model(frozen.train(known.data, settings, strategy="none", seed=seed))


def of_model(model: frozen.Model) -> Fitted:
    """Return a model that asks nobody who speaks."""
    return Fitted(
        lambda features, _: model.predict(features),
        lambda features, _: model.represent(features),
        num_parameters_of(model),
    )


def behind(
    transform: Callable[[Floats, Integers], Floats],
    known: Known,
    settings: frozen.Settings,
    seed: int,
    *,
    num_parameters: int = 0,
) -> Fitted:
    """Train the emotion head on transformed features.

    Args:
        transform: Of features (N, D) and their speakers (N,), for training and test alike.
        known: Features as they come.
        settings: Of the head.
        seed: Of its weights and batches.
        num_parameters: Of the transform.
    """
    seen = known._replace(
        emotional=transform(known.emotional, known.who).astype(np.float32),
        neutral=transform(known.neutral, known.speaker).astype(np.float32),
    )
    model = frozen.train(seen.data, settings, strategy="none", seed=seed)

    def apply(features: Floats, who: Integers) -> Floats:
        return transform(features, who).astype(np.float32)

    return Fitted(
        lambda features, who: model.predict(apply(features, who)),
        lambda features, who: model.represent(apply(features, who)),
        num_parameters + num_parameters_of(model),
    )


def num_parameters_of(model: frozen.Model) -> int:
    """Return how many numbers a model needs to predict: all but the speaker head's."""
    parts = [model.heads.gate, model.heads.projector, model.heads.model]
    return sum(one.numel() for part in parts if part is not None for one in part.parameters())


def by_speaker(
    of_one: Callable[[FloatArray], FloatArray], features: Floats, who: Integers
) -> Floats:
    """Return (N, D) in which each speaker's rows are replaced by `of_one` of them."""
    found = np.empty_like(features)
    for speaker in np.unique(who):
        rows = who == speaker
        found[rows] = of_one(features[rows].astype(np.float64))
    return found
