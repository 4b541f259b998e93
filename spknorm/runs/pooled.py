"""features_*.npz: pooled features of a stage, for a picture; `folder.py` tells what is in it."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError
from spknorm.files import atomic_path
from spknorm.runs.checked import printable


class Features(NamedTuple):
    """Pooled features of a stage: `values` (N, H), `speaker` and `emotion` N texts each."""

    upstream: str
    stage: str
    values: NDArray[Any]
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


def write_features(path: Path, found: Features) -> None:
    """Write the pooled features of a stage, in half precision."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            features=found.values.astype(np.float16),
            speaker=np.array(found.speaker),
            emotion=np.array(found.emotion),
            stage=np.array(found.stage),
            upstream=np.array(found.upstream),
        )
