"""Pooled features of a stage, read from features_*.npz, and laid flat for a picture.

Before `pictures.py` in the report. `runs/folder.py` tells the format of the files.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError
from spknorm.runs.checked import printable


class Features(NamedTuple):
    """Pooled features of a stage: `values` (N, H), `speaker` and `emotion` N texts each."""

    upstream: str
    stage: str
    values: NDArray[np.float64]
    speaker: list[str]
    emotion: list[str]


def read_features(path: Path) -> Features:
    """Return the pooled features in a features_*.npz.

    Raises:
        ConfigError: A key is missing, shapes do not fit, or the file holds pickled objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            values = np.asarray(file["features"], dtype=np.float64)
            texts = {key: np.asarray(file[key]).astype(str) for key in ("speaker", "emotion")}
            stage = str(file["stage"])
            upstream = str(file["upstream"]) if "upstream" in file else ""
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise ConfigError(
            f"{path} does not hold pooled features (features, speaker, emotion, stage): {error}"
        ) from error
    shapes = {(len(values),) if values.ndim == 2 else (), *(text.shape for text in texts.values())}
    if len(shapes) != 1 or len(values) < 3 or not np.isfinite(values).all():
        raise ConfigError(
            f"{path}: `features` must be finite and (N, H), `speaker` and `emotion` (N,), N >= 3."
        )
    speaker, emotion = (list(map(printable, texts[key].tolist())) for key in ("speaker", "emotion"))
    return Features(printable(upstream), printable(stage), values, speaker, emotion)


def two_components(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Project (N, H) on its first two components: (N, 2), and the share of variance they hold."""
    centred = values - values.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] if len(axes) > 1 else np.vstack([axes, np.zeros_like(axes)])
    largest = axes[np.arange(2), np.abs(axes).argmax(axis=1)]
    flat = centred @ (axes * np.where(largest < 0, -1.0, 1.0)[:, None]).T
    total = float((sizes**2).sum())
    return flat, float((sizes[:2] ** 2).sum()) / total if total else 0.0
