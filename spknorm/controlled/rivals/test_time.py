"""Statistics of the test speaker at test time alone; training knows nothing of it.

After AdaBN (Li et al. 2018): features of a test speaker are moved to the training mean and
deviation, by a share that the number of that speaker's recordings need not justify.
"""

import numpy as np

from spknorm.controlled import frozen
from spknorm.controlled.pool import Floats, Integers
from spknorm.controlled.rivals.world import (
    Fitted,
    Known,
    by_speaker,
    num_parameters_of,
)
from spknorm.demo.synthesis import FloatArray


def adapted(known: Known, settings: frozen.Settings, strength: float, seed: int) -> Fitted:
    """Move each test speaker's mean and deviation a share `strength` towards the training's."""
    model = frozen.train(known.data, settings, strategy="none", seed=seed)
    mean = known.emotional.mean(0).astype(np.float64)
    std = known.emotional.std(0).astype(np.float64) + 1e-6

    def of_one(rows: FloatArray) -> FloatArray:
        own, spread = rows.mean(0), rows.std(0) + 1e-6
        moved = (rows - own) / spread * std + mean
        mixed: FloatArray = (1 - strength) * rows + strength * moved
        return mixed

    def adapt(features: Floats, who: Integers) -> Floats:
        return by_speaker(of_one, features, who)

    return Fitted(
        lambda features, who: model.predict(adapt(features, who)),
        lambda features, who: model.represent(adapt(features, who)),
        num_parameters_of(model),
    )
