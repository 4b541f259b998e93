"""A picture of pooled features, before and after: read from features_*.npz, drawn by PCA.

After `canvas.py` in the report. `runs/folder.py` tells the format of the files.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError
from spknorm.report.canvas import CYCLE, Figure, new_plot, shorten, style, to_png
from spknorm.runs.checked import printable
from spknorm.runs.probes import rank_of

_MOST_POINTS = 2000


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


def draw_features(paths: Sequence[Path]) -> Figure | None:
    """Draw the first two principal components per stage, coloured by speaker and by emotion."""
    stages = [read_features(path) for path in paths]
    stages.sort(key=lambda entry: (entry.upstream, rank_of(entry.stage), entry.stage))
    stages = stages[:6]
    if not stages:
        return None
    said = []
    with style():
        plot, grid = new_plot(2.9 * len(stages) + 1.9, 6.0, rows=2, columns=len(stages))
        for column, entry in enumerate(stages):
            step = -(-len(entry.values) // _MOST_POINTS)
            flat, share = _two_components(entry.values[::step])
            for row, labels in enumerate((entry.speaker[::step], entry.emotion[::step])):
                axes = grid[row][column]
                names = sorted(set(labels))
                for number, name in enumerate(names):
                    chosen = np.array([label == name for label in labels])
                    axes.scatter(
                        flat[chosen, 0],
                        flat[chosen, 1],
                        s=9,
                        alpha=0.75,
                        linewidths=0,
                        label=shorten(name, 12),
                        color=CYCLE[number % len(CYCLE)],
                        marker="o^sDv"[number // len(CYCLE) % 5],
                    )
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(
                        ("by speaker", "by emotion")[row], fontsize=10, fontweight="bold"
                    )
                if column == len(stages) - 1 and len(names) <= 20:
                    axes.legend(
                        loc="center left",
                        bbox_to_anchor=(1.0, 0.5),
                        fontsize=8,
                        handletextpad=0.1,
                        markerscale=1.6,
                    )
            name = {"raw": "raw upstream", "none": "fine-tuned, no adversary"}.get(
                entry.stage, entry.stage
            )
            where = f"{shorten(entry.upstream, 24)}\n" if entry.upstream else ""
            grid[0][column].set_title(f"{where}{shorten(name, 26)}", fontsize=9.5)
            grid[1][column].set_xlabel(
                f"2 of {entry.values.shape[1]} dimensions, {100 * share:.0f} % of variance",
                fontsize=8.5,
            )
            said.append(
                f"{name}: {len(flat)} utterances of {len(set(entry.speaker))} speakers, the "
                f"plane holds {100 * share:.0f} percent of the variance."
            )
        png = to_png(plot)
    return Figure(
        name="features",
        title="Pooled features, before and after",
        caption="First two principal components of the pooled features, each stage for itself "
        "(axes are not shared, and a plane can hide what a probe finds). Top: colour is the "
        "speaker; bottom: the same points, colour is the emotion.",
        alt="Scatter plots of utterances, by speaker above and by emotion below. " + " ".join(said),
        png=png,
    )


def _two_components(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Project (N, H) on its first two components: (N, 2), and the share of variance they hold."""
    centred = values - values.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] if len(axes) > 1 else np.vstack([axes, np.zeros_like(axes)])
    largest = axes[np.arange(2), np.abs(axes).argmax(axis=1)]
    flat = centred @ (axes * np.where(largest < 0, -1.0, 1.0)[:, None]).T
    total = float((sizes**2).sum())
    return flat, float((sizes[:2] ** 2).sum()) / total if total else 0.0
