"""Speaker normalisation for speech emotion recognition, as a task of s3prl.

Importing this package loads neither torch nor s3prl; the names below do so when they are called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spknorm.predict import Predictor

__version__ = "0.2.0"


def register() -> None:
    """Add this project's tasks and upstreams to s3prl's registries (see `spknorm.registry`)."""
    from spknorm import registry

    registry.register()


def load(path: Any, **options: Any) -> "Predictor":
    """Return a predictor of emotions from an experiment folder (see `spknorm.predict.load`)."""
    from spknorm import predict

    return predict.load(path, **options)
