"""What a method gives back: something that predicts and represents utterances of known speakers.

After `frozen.py`; `folds.py` and the rivals make them.

Legend: N utterances, D dimensions of a pooled utterance, D' of what the emotion head sees.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from spknorm.controlled import frozen
from spknorm.controlled.frozen import Data, Model
from spknorm.controlled.pool import Floats, Integers

Transform = Callable[[Floats, Integers], Floats]
"""Features (N, D') of features (N, D) of the speakers (N,)."""
Fit = Callable[[Data[Floats], frozen.Settings, float, int], "Fitted"]
"""Trains a rival on a fold at a strength with a seed."""


class Fitted(NamedTuple):
    """A trained method.

    Attributes:
        predict: Emotions (N,) of features of the speakers (N,), all of them at once: what is said
            of one utterance may depend on the others of its speaker.
        represent: What the emotion head sees (N, D') of the same.
        num_parameters: What is kept for prediction: all but the speaker head.
    """

    predict: Callable[[Any, Integers], Integers]
    represent: Callable[[Any, Integers], Floats]
    num_parameters: int
    speaker_loss: float | None = None


def of_model(
    model: Model, transform: Transform | None = None, *, num_parameters: int = 0
) -> Fitted:
    """Return a model that sees transformed features, by default all as they come.

    `num_parameters` are the transform's.
    """

    def seen(features: Any, who: Integers) -> Any:
        return features if transform is None else transform(features, who).astype(np.float32)

    parts = [model.heads.gate, model.heads.projector, model.heads.model]
    return Fitted(
        lambda features, who: model.predict(seen(features, who)),
        lambda features, who: model.represent(seen(features, who)),
        num_parameters + sum(p.numel() for part in parts if part for p in part.parameters()),
        model.speaker_loss,
    )


def behind(
    transform: Transform,
    data: Data[Floats],
    settings: frozen.Settings,
    seed: int,
    *,
    num_parameters: int = 0,
) -> Fitted:
    """Train the emotion head on transformed features; they are transformed in the test, too."""
    seen = data._replace(
        emotional=transform(data.emotional, data.who).astype(np.float32),
        neutral=transform(data.neutral, data.speaker).astype(np.float32),
    )
    model = frozen.train(seen, settings, seed=seed)
    return of_model(model, transform, num_parameters=num_parameters)
