"""The figures of what goes on inside: training curves, leakage, and pooled features.

After `leakage.py` and `canvas.py` in the report. Every function returns None, or yields nothing,
where there is nothing to draw.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spknorm.report import canvas
from spknorm.report.blocks import Block, Estimate
from spknorm.report.canvas import CYCLE, GREY, Figure, drawing, shorten
from spknorm.report.leakage import RATES, Frontier
from spknorm.runs import Run
from spknorm.runs.pooled import read_features
from spknorm.runs.probes import rank_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame, Series

_CURVES = (
    ("emotion_loss", "Emotion loss, nats"),
    ("speaker_loss", "Speaker loss, nats"),
    ("speaker_lambda", "λ, step of the ascent"),
)
_MOST_RUNS, _MOST_STAGES, _MOST_POINTS, _MOST_NAMES = 30, 6, 2000, 20
_STAGES = {"raw": "raw upstream", "none": "fine-tuned, no adversary"}


def draw_training(block: Block) -> Iterator[Figure]:
    """Draw emotion loss, speaker loss against log K, and lambda, one figure per upstream."""
    for upstream, estimates in block.by_upstream().items():
        drawn = [one for one in estimates if any(run.history for run in one.rows["run"])]
        if not drawn:
            continue
        colours = canvas.colours_of([one.method.family for one in drawn])
        with drawing(9.6, 3.5, columns=3) as picture:
            cells = picture.grid[0]
            for axes, (key, title) in zip(cells, _CURVES, strict=True):
                pairs = zip(drawn, colours, strict=True)
                logged = [_draw_curve(axes, one, colour, key) for one, colour in pairs]
                axes.set(title=title, xlabel="Training step")
                if key == "speaker_loss":
                    picture.said += _log_k(axes, drawn)
                axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
                if not any(logged):
                    at = axes.transAxes
                    axes.text(0.5, 0.5, "not logged", ha="center", color=GREY, transform=at)
            for one in drawn:
                mean = _mean_curve(one.rows["run"], "emotion_loss")
                if len(mean):
                    picture.say("loss-of", method=one.method, loss=[*mean])
            handles, names = cells[0].get_legend_handles_labels()
            columns = min(3, len(drawn))
            picture.plot.legend(handles, names, loc="outside lower center", ncols=columns)
            where = {"upstream": upstream, "protocol": block.protocol}
            yield picture.finish("training", "training", block.protocol, upstream, **where)


def draw_frontier(frontier: Frontier) -> Figure:
    """Draw WA against speaker leakage: one mark per method, lambdas of a strategy joined."""
    labels: list[tuple[float, float, str, str]] = []
    lines: dict[tuple[object, ...], list[tuple[float, float, float]]] = {}
    with drawing(8.4, 4.8) as picture:
        axes = picture.axes
        for method, leakage, wa in frontier.points:
            x, y, colour = 100 * leakage.mean, 100 * wa.mean, canvas.colour_of(method.family)
            axes.errorbar(x, y, xerr=100 * leakage.std or None, yerr=100 * wa.std or None,
                          color=colour, fmt=canvas.MARKERS.get(method.family, "P"), markersize=8,
                          ecolor=f"{colour}59", elinewidth=1.2)  # fmt: skip
            labels.append((x, y, shorten(method.label, 44), colour))
            picture.say("trade-of", method=method, x=x, y=y, num_runs=wa.n)
            if method.speaker_lambda is not None and not method.is_reference:
                key = (method.family, method.update, method.adversary, method.frozen)
                lines.setdefault(key, []).append((method.speaker_lambda, x, y))
        for (family, *_), places in lines.items():
            _, xs, ys = zip(*sorted(places), strict=True)
            axes.plot(
                xs, ys, color=canvas.colour_of(str(family)), linewidth=1.2, alpha=0.6, zorder=1
            )
        for value, name in ((frontier.raw, "raw upstream"), (frontier.chance, "chance")):
            if value is not None:
                canvas.draw_limit(axes, 100 * value, name, (3, 4), va="bottom", rotation=90,
                           xycoords=("data", "axes fraction"))  # fmt: skip
                picture.say("limit-of", name=name, value=value)
        axes.margins(x=0.12, y=0.1)
        axes.set_xlim(left=max(axes.get_xlim()[0], -1.5))
        leakage_of = f"Speaker leakage: accuracy of a fresh probe, %   ({frontier.axis})"
        axes.set_xlabel(leakage_of, fontsize=9.5)
        axes.set_ylabel("WA on the test set, %")
        canvas.label_points(picture, labels)
        return picture.finish("frontier", "frontier", frontier.upstream, frontier=frontier)


def draw_layers(probed: "DataFrame") -> Figure | None:
    """Draw the linear speaker probe's accuracy per layer, where layers were probed one by one."""
    rows = probed[(probed["label"] == "speaker") & ~probed["probe"].isin(RATES)]
    rows = rows[rows["layer"].str.isdigit().astype(bool) & rows["control"].isna()]
    if not len(rows):
        return None
    kinds = {*zip(rows["probe"], rows["corpus"], strict=True)}
    _, probe, _, corpus = min((one != "linear", one, on != "speaker", on) for one, on in kinds)
    rows = rows[(rows["probe"] == probe) & (rows["corpus"] == corpus)]
    rows = rows.assign(layer=rows["layer"].astype(int), percent=100 * rows["accuracy"])
    with drawing(8.4, 3.8) as picture:
        axes = picture.axes
        groups = rows.groupby(["upstream", "rank", "subject"])
        for number, ((upstream, _, subject), found) in enumerate(groups):
            means = found.groupby("layer")["percent"].mean()
            name, colour = shorten(f"{upstream}: {subject}", 60), CYCLE[number % len(CYCLE)]
            axes.plot(means.index, means, "o-", markersize=4, label=name, color=colour)
            picture.say("layers-of", name=name, layers=[*means.items()])
        axes.set(xlabel="Layer", ylabel="Speaker accuracy, %")
        axes.set_ylim(bottom=0)
        picture.plot.legend(loc="outside upper left", ncols=2)
        return picture.finish("layers", "leakage_by_layer", probe=probe, corpus=corpus)


def draw_features(paths: Sequence[Path]) -> Figure | None:
    """Draw the first two principal components per stage, coloured by speaker and by emotion.

    Raises:
        ConfigError: As `read_features`.
    """
    stages = [read_features(path) for path in paths]
    stages.sort(key=lambda entry: (entry.upstream, rank_of(entry.stage), entry.stage))
    stages = stages[:_MOST_STAGES]
    if not stages:
        return None
    with drawing(2.9 * len(stages) + 1.9, 6.0, rows=2, columns=len(stages)) as picture:
        for column, entry in enumerate(stages):
            step = -(-len(entry.values) // _MOST_POINTS)
            flat, share = _two_components(entry.values[::step])
            above, below = (line[column] for line in picture.grid)
            for axes, labels in ((above, entry.speaker[::step]), (below, entry.emotion[::step])):
                num_names = _draw_points(axes, flat, labels)
                if column == len(stages) - 1 and num_names <= _MOST_NAMES:
                    axes.legend(handletextpad=0.1, markerscale=1.6, fontsize=8, loc="center left",
                                bbox_to_anchor=(1.0, 0.5))  # fmt: skip
            name = _STAGES.get(entry.stage, entry.stage)
            where = f"{shorten(entry.upstream, 24)}\n" if entry.upstream else ""
            above.set_title(f"{where}{shorten(name, 26)}", fontsize=9.5)
            variance = f"2 of {entry.values.shape[1]} dimensions, {100 * share:.0f} % of variance"
            below.set_xlabel(variance, fontsize=8.5)
            count = len({*entry.speaker})
            picture.say("plane-of", name=name, num=len(flat), num_speakers=count, share=share)
        for line, label in zip(picture.grid, ("by speaker", "by emotion"), strict=True):
            line[0].set_ylabel(label, fontsize=10, fontweight="bold")
        return picture.finish("pooled", "features")


def _two_components(values: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Project (N, H) on its first two components: (N, 2), and the share of variance they hold."""
    centred = values - values.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] if len(axes) > 1 else np.vstack([axes, np.zeros_like(axes)])
    largest = axes[np.arange(2), np.abs(axes).argmax(axis=1)]
    flat = centred @ (axes * np.where(largest < 0, -1.0, 1.0)[:, None]).T
    total = float((sizes**2).sum())
    return flat, float((sizes[:2] ** 2).sum()) / total if total else 0.0


def _draw_points(axes: "Axes", flat: Any, labels: Sequence[str]) -> int:
    """Draw (N, 2) points in a colour and marker for each label; return how many labels."""
    names = sorted(set(labels))
    for number, name in enumerate(names):
        chosen = np.array([label == name for label in labels])
        colour, marker = CYCLE[number % len(CYCLE)], "o^sDv"[number // len(CYCLE) % 5]
        x, y = flat[chosen].T
        axes.scatter(x, y, label=shorten(name, 12), s=9, alpha=0.75, linewidths=0, color=colour,
                     marker=marker)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    return len(names)


def _curve(run: Run, key: str) -> "Series[float]":
    import pandas as pd

    steps = [step for step in run.history if step.split == "train"]
    values = [getattr(step, key) for step in steps]
    return pd.Series(values, [step.step for step in steps], dtype=float).dropna()


def _mean_curve(runs: Sequence[Run], key: str) -> "Series[float]":
    import pandas as pd

    every = pd.concat([_curve(run, key) for run in runs])
    return every.groupby(level=0).mean()


def _draw_curve(axes: "Axes", one: Estimate, colour: str, key: str) -> bool:
    for curve in (_curve(run, key) for run in one.rows["run"][:_MOST_RUNS]):
        if len(curve):
            axes.plot(curve.index, curve, color=colour, linewidth=0.5, alpha=0.25)
    mean = _mean_curve(one.rows["run"], key)
    label = shorten(one.method.label, 44)
    axes.plot(mean.index, mean, color=colour, linewidth=1.8, label=label)
    return len(mean) > 0


def _log_k(axes: "Axes", drawn: Sequence[Estimate]) -> list[str]:
    steps = (step for one in drawn for run in one.rows["run"] for step in run.history)
    values = sorted({round(step.log_num_speakers, 6) for step in steps if step.log_num_speakers})
    for value in values:
        axes.axhline(value, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
        canvas.write_beside(axes, "log K", (0, value), (4, 3), color=GREY,
                     xycoords=("axes fraction", "data"))  # fmt: skip
    return [f"log K is {value:.2f}" for value in values]
