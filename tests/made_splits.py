"""A split under some settings of `datarc`, without the rest of them."""

from spknorm.protocols import divide
from spknorm.schema import DataConfig


def make_split(utterances, *, fold, dev="superb", seed=0, ordered=False, **settings):
    config = DataConfig(**settings)
    return divide(utterances, config, fold=fold, dev=dev, seed=seed, ordered=ordered)[0]
