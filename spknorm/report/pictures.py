"""The figures of what goes on inside: training curves, leakage, pooled features.

After `leakage.py` and `canvas.py` in the report. Every function returns None, or yields nothing, where
there is nothing to draw.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.errors import ConfigError
from spknorm.report.canvas import (
    COLOURS,
    CYCLE,
    GREY,
    Figure,
    colour_of,
    file_name,
    marker_of,
    new_plot,
    shorten,
    style,
    to_png,
)
from spknorm.report.fields import printable
from spknorm.report.leakage import Frontier, Probed
from spknorm.report.methods import Group
from spknorm.report.results import Run
from spknorm.report.scores import Scored

_CURVES = (
    ("emotion_loss", "Emotion loss, nats"),
    ("speaker_loss", "Speaker loss, nats"),
    ("speaker_lambda", "λ, step of the ascent"),
)
_STAGES = ("raw", "none", "SNP", "TAP")
_MOST_POINTS = 2000


class Features(NamedTuple):
    """Pooled features of a stage: `values` (N, H), `speaker` and `emotion` N texts each."""

    upstream: str
    stage: str
    values: NDArray[np.float64]
    speaker: list[str]
    emotion: list[str]


def draw_training(scored: Scored) -> Iterator[Figure]:
    """Draw emotion loss, speaker loss against log K, and lambda, one figure per upstream."""
    for upstream in dict.fromkeys(group.method.upstream_label for group in scored.block.groups):
        groups = [group for group in scored.block.groups
                  if group.method.upstream_label == upstream
                  and any(run.history for run in group.runs)]
        if not groups:
            continue
        said = []
        with style():
            plot, (cells,) = new_plot(9.6, 3.5, columns=3)
            for axes, (key, title) in zip(cells, _CURVES, strict=True):
                some = False
                for number, group in enumerate(groups):
                    some |= _draw_curve(axes, group, key, CYCLE[number % len(CYCLE)])
                axes.set_title(title)
                axes.set_xlabel("Training step")
                axes.set_ylim(bottom=0)
                if not some:
                    axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center",
                              color=GREY)
            said += _log_k(cells[1], groups)
            for group in groups:
                steps, mean = _mean_curve(group.runs, "emotion_loss")
                if len(steps):
                    said.append(f"{group.method.label}: emotion loss {mean[0]:.2f} to {mean[-1]:.2f}")
            handles, labels = cells[0].get_legend_handles_labels()
            plot.legend(handles, labels, loc="outside lower center", ncols=min(3, len(groups)),
                        fontsize=8.5)
            png = to_png(plot)
        yield Figure(
            name=file_name("training", scored.block.protocol, upstream),
            title=f"Training, {upstream}, {scored.block.protocol}",
            caption="Mean over the runs of a method that logged a step; thin lines are single runs. "
            "Dashed: log K, the loss of a speaker head that guesses among K speakers.",
            alt="Three line charts over training steps: emotion loss, speaker loss, lambda. "
            + "; ".join(said) + ".",
            png=png,
        )


def draw_frontier(frontier: Frontier) -> Figure:
    """Draw WA against speaker leakage: one mark per method, lambdas of a strategy joined."""
    said = []
    with style():
        plot, ((axes,),) = new_plot(8.4, 4.8)
        lines: dict[tuple[str, str | None, str | None], list[tuple[float, float, float]]] = {}
        for point in frontier.points:
            x, y = 100 * point.leakage.mean, 100 * point.wa.mean
            colour = colour_of(point.method.family)
            axes.errorbar(x, y, xerr=100 * point.leakage.std or None, yerr=100 * point.wa.std or None,
                          fmt=marker_of(point.method.family), color=colour, markersize=8,
                          ecolor=(*_rgb(colour), 0.35), elinewidth=1.2)
            axes.annotate(shorten(point.method.label, 40), (x, y), xytext=(8, 7), fontsize=8.5,
                          textcoords="offset points", color=colour)
            said.append(f"{point.method.label}: leakage {x:.1f}, WA {y:.1f} ({point.wa.n} runs).")
            if point.method.speaker_lambda is not None and not point.method.is_reference:
                method = point.method
                key = method.family, method.update, method.adversary
                lines.setdefault(key, []).append((method.speaker_lambda or 0.0, x, y))
        for (family, _, _), places in lines.items():
            _, xs, ys = zip(*sorted(places), strict=True)
            axes.plot(xs, ys, color=colour_of(family), linewidth=1.2, alpha=0.6, zorder=1)
        for value, name in ((frontier.raw, "raw upstream"), (frontier.chance, "chance")):
            if value is not None:
                axes.axvline(100 * value, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
                axes.annotate(name, (100 * value, 0), xycoords=("data", "axes fraction"),
                              xytext=(3, 4), textcoords="offset points", fontsize=8.5,
                              color=GREY, rotation=90, va="bottom")
                said.append(f"{name}: leakage {100 * value:.1f}.")
        axes.margins(x=0.16, y=0.12)
        axes.set_xlabel(f"Speaker leakage: accuracy of a fresh probe, %   ({frontier.axis.split(';')[0]})",
                        fontsize=9.5)
        axes.set_ylabel("WA on the test set, %")
        png = to_png(plot)
    return Figure(
        name=file_name("frontier", frontier.upstream),
        title=f"Accuracy against leakage, {frontier.upstream}",
        caption=f"Up and to the left is better. {frontier.axis}; means over the runs that were probed, "
        "bars: ± one standard deviation over them. A line joins the λ of one strategy.",
        alt="Scatter plot of weighted accuracy against speaker probe accuracy, both in percent. "
        + " ".join(said),
        png=png,
    )


def draw_layers(probed: Sequence[Probed]) -> Figure | None:
    """Draw the linear speaker probe's accuracy per layer, where layers were probed one by one."""
    rows = [entry for entry in probed if entry.row.layer.isdigit() and entry.row.label == "speaker"]
    rows = [entry for entry in rows if entry.row.control is None and entry.row.probe != "eer"]
    if not rows:
        return None
    first = min((entry.row.probe != "linear", entry.row.probe, entry.row.corpus != "speaker",
                 entry.row.corpus) for entry in rows)
    rows = [entry for entry in rows if (entry.row.probe, entry.row.corpus) == (first[1], first[3])]
    said = []
    with style():
        plot, ((axes,),) = new_plot(8.4, 3.8)
        subjects = sorted({(entry.row.upstream, entry.rank, entry.subject) for entry in rows})
        for number, (upstream, _, subject) in enumerate(subjects):
            found: dict[int, list[float]] = {}
            for entry in rows:
                if (entry.row.upstream, entry.subject) == (upstream, subject):
                    found.setdefault(int(entry.row.layer), []).append(100 * entry.row.accuracy)
            layers = sorted(found)
            means = [float(np.mean(found[layer])) for layer in layers]
            name = shorten(f"{upstream}: {subject}", 60)
            axes.plot(layers, means, marker="o", markersize=4, color=CYCLE[number % len(CYCLE)],
                      label=name)
            said.append(f"{name}: {means[0]:.1f} at layer {layers[0]}, {means[-1]:.1f} at "
                        f"{layers[-1]}.")
        axes.set_xlabel("Layer")
        axes.set_ylabel("Speaker accuracy, %")
        axes.set_ylim(bottom=0)
        plot.legend(loc="outside upper left", fontsize=8.5, ncols=2)
        png = to_png(plot)
    return Figure(
        name="leakage_by_layer",
        title="Leakage by layer",
        caption=f"Accuracy of the {first[1]} probe on each layer, {first[3]} corpus; mean over audits.",
        alt="Line chart of speaker probe accuracy in percent per layer. " + " ".join(said),
        png=png,
    )


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
    rank = {stage: number for number, stage in enumerate(_STAGES)}
    stages.sort(key=lambda entry: (entry.upstream, rank.get(entry.stage, 9), entry.stage))
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
                    axes.scatter(*flat[chosen].T, s=9, alpha=0.75, linewidths=0, label=shorten(name, 12),
                                 color=CYCLE[number % len(CYCLE)],
                                 marker="o^sDv"[number // len(CYCLE) % 5])
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(("by speaker", "by emotion")[row], fontsize=10, fontweight="bold")
                if column == len(stages) - 1 and len(names) <= 20:
                    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8,
                                handletextpad=0.1, markerscale=1.6)
            name = {"raw": "raw upstream", "none": "fine-tuned, no adversary"}.get(entry.stage,
                                                                                   entry.stage)
            where = f"{shorten(entry.upstream, 24)}\n" if entry.upstream else ""
            grid[0][column].set_title(f"{where}{shorten(name, 26)}", fontsize=9.5)
            grid[1][column].set_xlabel(f"2 of {entry.values.shape[1]} dimensions, "
                                       f"{100 * share:.0f} % of variance", fontsize=8.5)
            said.append(f"{name}: {len(flat)} utterances of {len(set(entry.speaker))} speakers, the "
                        f"plane holds {100 * share:.0f} percent of the variance.")
        png = to_png(plot)
    return Figure(
        name="features",
        title="Pooled features, before and after",
        caption="First two principal components of the pooled features, each stage for itself (axes "
        "are not shared, and a plane can hide what a probe finds). Top: colour is the speaker; "
        "bottom: the same points, colour is the emotion.",
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


def _mean_curve(runs: Sequence[Run], key: str) -> tuple[list[int], list[float]]:
    found: dict[int, list[float]] = {}
    for run in runs:
        for step, value in _points(run, key):
            found.setdefault(step, []).append(value)
    return sorted(found), [float(np.mean(found[step])) for step in sorted(found)]


def _points(run: Run, key: str) -> list[tuple[int, float]]:
    return [
        (step.step, value)
        for step in run.history
        if step.split == "train" and (value := getattr(step, key)) is not None
    ]


def _draw_curve(axes, group: Group, key: str, colour: str) -> bool:  # type: ignore[no-untyped-def] # matplotlib's Axes is imported lazily
    for run in group.runs[:30]:
        if points := _points(run, key):
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.5, alpha=0.25)
    steps, mean = _mean_curve(group.runs, key)
    axes.plot(steps, mean, color=colour, linewidth=1.8, label=shorten(group.method.label, 44))
    return bool(steps)


def _log_k(axes, groups: Sequence[Group]) -> list[str]:  # type: ignore[no-untyped-def] # as above
    values = {round(step.log_num_speakers, 6) for group in groups for run in group.runs
              for step in run.history if step.log_num_speakers}
    for value in sorted(values):
        axes.axhline(value, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
        axes.annotate("log K", (0, value), xycoords=("axes fraction", "data"), xytext=(4, 3),
                      textcoords="offset points", fontsize=8.5, color=GREY)
    return [f"log K is {value:.2f}" for value in sorted(values)]


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
