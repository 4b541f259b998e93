"""The figures of what goes on inside: training curves and leakage.

After `leakage.py` and `canvas.py` in the report. Every function returns None, or yields nothing,
where there is nothing to draw.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spknorm.report.canvas import (
    CYCLE,
    GREY,
    Figure,
    colour_of,
    colours_of,
    file_name,
    label_points,
    marker_of,
    new_plot,
    shorten,
    style,
    to_png,
)
from spknorm.report.leakage import Frontier
from spknorm.report.scores import Block, Estimate
from spknorm.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_CURVES = (
    ("emotion_loss", "Emotion loss, nats"),
    ("speaker_loss", "Speaker loss, nats"),
    ("speaker_lambda", "λ, step of the ascent"),
)
_MOST_RUNS = 30


def draw_training(block: Block) -> Iterator[Figure]:
    """Draw emotion loss, speaker loss against log K, and lambda, one figure per upstream."""
    for upstream, estimates in block.by_upstream().items():
        drawn = [one for one in estimates if any(run.history for run in one.rows["run"])]
        if not drawn:
            continue
        said = []
        colours = colours_of([one.method.family for one in drawn])
        with style():
            plot, (cells,) = new_plot(9.6, 3.5, columns=3)
            for axes, (key, title) in zip(cells, _CURVES, strict=True):
                pairs = zip(drawn, colours, strict=True)
                logged = [_draw_curve(axes, one, colour, key) for one, colour in pairs]
                axes.set_title(title)
                axes.set_xlabel("Training step")
                axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
                if not any(logged):
                    axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center",
                              color=GREY)  # fmt: skip
            said += _log_k(cells[1], drawn)
            for one in drawn:
                _, mean = _mean_curve(one.rows["run"], "emotion_loss")
                if mean:
                    said.append(f"{one.method.label}: emotion loss {mean[0]:.2f} to {mean[-1]:.2f}")
            plot.legend(*cells[0].get_legend_handles_labels(), loc="outside lower center",
                        ncols=min(3, len(drawn)), fontsize=8.5)  # fmt: skip
            png = to_png(plot)
        yield Figure(
            name=file_name("training", block.protocol, upstream),
            title=f"Training, {upstream}, {block.protocol}",
            caption="Mean over the runs of a method that logged a step; thin lines: single runs. "
            "Dashed: log K, the loss of a speaker head that guesses among K speakers.",
            alt="Three line charts over training steps: emotion loss, speaker loss, lambda. "
            + "; ".join(said)
            + ".",
            png=png,
        )


def draw_frontier(frontier: Frontier) -> Figure:
    """Draw WA against speaker leakage: one mark per method, lambdas of a strategy joined."""
    said = []
    labels: list[tuple[float, float, str, str]] = []
    lines: dict[tuple[object, ...], list[tuple[float, float, float]]] = {}
    with style():
        plot, ((axes,),) = new_plot(8.4, 4.8)
        for method, leakage, wa in frontier.points:
            x, y, colour = 100 * leakage.mean, 100 * wa.mean, colour_of(method.family)
            bars: dict[str, Any] = {"xerr": 100 * leakage.std or None, "yerr": 100 * wa.std or None}
            axes.errorbar(x, y, **bars, fmt=marker_of(method.family), color=colour, markersize=8,
                          ecolor=f"{colour}59", elinewidth=1.2)  # fmt: skip
            labels.append((x, y, shorten(method.label, 44), colour))
            said.append(f"{method.label}: leakage {x:.1f}, WA {y:.1f} ({wa.n} runs).")
            if method.speaker_lambda is not None and not method.is_reference:
                key = (method.family, method.update, method.adversary, method.frozen)
                lines.setdefault(key, []).append((method.speaker_lambda, x, y))
        for (family, *_), places in lines.items():
            _, xs, ys = zip(*sorted(places), strict=True)
            axes.plot(xs, ys, color=colour_of(str(family)), linewidth=1.2, alpha=0.6, zorder=1)
        for value, name in ((frontier.raw, "raw upstream"), (frontier.chance, "chance")):
            if value is not None:
                axes.axvline(100 * value, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
                axes.annotate(name, (100 * value, 0), xycoords=("data", "axes fraction"),
                              xytext=(3, 4), textcoords="offset points", fontsize=8.5, color=GREY,
                              rotation=90, va="bottom")  # fmt: skip
                said.append(f"{name}: leakage {100 * value:.1f}.")
        axes.margins(x=0.12, y=0.1)
        axes.set_xlim(left=max(axes.get_xlim()[0], -1.5))
        axes.set_xlabel(f"Speaker leakage: accuracy of a fresh probe, %   ({frontier.axis})",
                        fontsize=9.5)  # fmt: skip
        axes.set_ylabel("WA on the test set, %")
        label_points(plot, axes, labels)
        png = to_png(plot)
    return Figure(
        name=file_name("frontier", frontier.upstream),
        title=f"Accuracy against leakage, {frontier.upstream}",
        caption=f"Up and to the left is better. {frontier.axis}; WA under {frontier.protocol}, "
        "mean over all runs; leakage: mean over the probed ones; bars: ± one standard deviation. "
        "A line joins the λ of one strategy.",
        alt="Scatter plot of weighted accuracy against speaker probe accuracy, both in percent. "
        + " ".join(said),
        png=png,
    )


def draw_layers(probed: "DataFrame") -> Figure | None:
    """Draw the linear speaker probe's accuracy per layer, where layers were probed one by one."""
    if not len(probed):
        return None
    rows = probed[(probed["label"] == "speaker") & (probed["probe"] != "eer")]
    rows = rows[rows["layer"].str.isdigit() & rows["control"].isna()]
    if not len(rows):
        return None
    _, probe, _, corpus = min(
        (probe != "linear", probe, corpus != "speaker", corpus)
        for probe, corpus in zip(rows["probe"], rows["corpus"], strict=True)
    )
    rows = rows[(rows["probe"] == probe) & (rows["corpus"] == corpus)]
    rows = rows.assign(layer=rows["layer"].astype(int), percent=100 * rows["accuracy"])
    said = []
    with style():
        plot, ((axes,),) = new_plot(8.4, 3.8)
        groups = rows.groupby(["upstream", "rank", "subject"])
        for number, ((upstream, _, subject), found) in enumerate(groups):
            means = found.groupby("layer")["percent"].mean()
            name = shorten(f"{upstream}: {subject}", 60)
            axes.plot(means.index, means, marker="o", markersize=4, label=name,
                      color=CYCLE[number % len(CYCLE)])  # fmt: skip
            ends = [f"{means.iloc[at]:.1f} at {word}{means.index[at]}"
                    for at, word in ((0, "layer "), (-1, ""))]  # fmt: skip
            said.append(f"{name}: {', '.join(ends)}.")
        axes.set_xlabel("Layer")
        axes.set_ylabel("Speaker accuracy, %")
        axes.set_ylim(bottom=0)
        plot.legend(loc="outside upper left", fontsize=8.5, ncols=2)
        png = to_png(plot)
    return Figure(
        name="leakage_by_layer",
        title="Leakage by layer",
        caption=f"Accuracy of the {probe} probe on each layer, {corpus} corpus; mean over audits.",
        alt="Line chart of speaker probe accuracy in percent per layer. " + " ".join(said),
        png=png,
    )


def _points(run: Run, key: str) -> list[tuple[int, float]]:
    logged = ((step.step, getattr(step, key)) for step in run.history if step.split == "train")
    return [(step, value) for step, value in logged if value is not None]


def _mean_curve(runs: Sequence[Run], key: str) -> tuple[list[int], list[float]]:
    found: dict[int, list[float]] = {}
    for run in runs:
        for step, value in _points(run, key):
            found.setdefault(step, []).append(value)
    return sorted(found), [float(np.mean(found[step])) for step in sorted(found)]


def _draw_curve(axes: "Axes", one: Estimate, colour: str, key: str) -> bool:
    for run in one.rows["run"][:_MOST_RUNS]:
        if points := _points(run, key):
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.5, alpha=0.25)
    steps, mean = _mean_curve(one.rows["run"], key)
    axes.plot(steps, mean, color=colour, linewidth=1.8, label=shorten(one.method.label, 44))
    return bool(steps)


def _log_k(axes: "Axes", drawn: Sequence[Estimate]) -> list[str]:
    steps = (step for one in drawn for run in one.rows["run"] for step in run.history)
    values = sorted({round(step.log_num_speakers, 6) for step in steps if step.log_num_speakers})
    for value in values:
        axes.axhline(value, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
        axes.annotate("log K", (0, value), xycoords=("axes fraction", "data"), xytext=(4, 3),
                      textcoords="offset points", fontsize=8.5, color=GREY)  # fmt: skip
    return [f"log K is {value:.2f}" for value in values]
