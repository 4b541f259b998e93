"""The figures of what goes on inside: training curves and leakage.

After `leakage.py` and `canvas.py` in the report. Every function returns None, or yields nothing,
where there is nothing to draw.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

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
from spknorm.report.leakage import Frontier, Probed
from spknorm.report.methods import Group
from spknorm.report.results import Run
from spknorm.report.scores import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CURVES = (
    ("emotion_loss", "Emotion loss, nats"),
    ("speaker_loss", "Speaker loss, nats"),
    ("speaker_lambda", "λ, step of the ascent"),
)


def draw_training(scored: Scored) -> Iterator[Figure]:
    """Draw emotion loss, speaker loss against log K, and lambda, one figure per upstream."""
    for upstream in dict.fromkeys(group.method.upstream_label for group in scored.block.groups):
        groups = [
            group
            for group in scored.block.groups
            if group.method.upstream_label == upstream and any(run.history for run in group.runs)
        ]
        if not groups:
            continue
        said = []
        colours = colours_of([group.method.family for group in groups])
        with style():
            plot, (cells,) = new_plot(9.6, 3.5, columns=3)
            for axes, (key, title) in zip(cells, _CURVES, strict=True):
                some = False
                for group, colour in zip(groups, colours, strict=True):
                    some |= _draw_curve(axes, group, key, colour)
                axes.set_title(title)
                axes.set_xlabel("Training step")
                axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
                if not some:
                    axes.text(
                        0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", color=GREY
                    )
            said += _log_k(cells[1], groups)
            for group in groups:
                steps, mean = _mean_curve(group.runs, "emotion_loss")
                if len(steps):
                    said.append(
                        f"{group.method.label}: emotion loss {mean[0]:.2f} to {mean[-1]:.2f}"
                    )
            handles, labels = cells[0].get_legend_handles_labels()
            plot.legend(
                handles, labels, loc="outside lower center", ncols=min(3, len(groups)), fontsize=8.5
            )
            png = to_png(plot)
        yield Figure(
            name=file_name("training", scored.block.protocol, upstream),
            title=f"Training, {upstream}, {scored.block.protocol}",
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
    with style():
        plot, ((axes,),) = new_plot(8.4, 4.8)
        lines: dict[tuple[str, str | None, object], list[tuple[float, float, float]]] = {}
        for point in frontier.points:
            x, y = 100 * point.leakage.mean, 100 * point.wa.mean
            colour = colour_of(point.method.family)
            axes.errorbar(
                x,
                y,
                xerr=100 * point.leakage.std or None,
                yerr=100 * point.wa.std or None,
                fmt=marker_of(point.method.family),
                color=colour,
                markersize=8,
                ecolor=(*_rgb(colour), 0.35),
                elinewidth=1.2,
            )
            labels.append((x, y, shorten(point.method.full_label, 44), colour))
            said.append(
                f"{point.method.full_label}: leakage {x:.1f}, WA {y:.1f} ({point.wa.n} runs)."
            )
            if point.method.speaker_lambda is not None and not point.method.is_reference:
                method = point.method
                key = method.family, method.update, (method.adversary, method.frozen)
                lines.setdefault(key, []).append((method.speaker_lambda or 0.0, x, y))
        for (family, _, _), places in lines.items():
            _, xs, ys = zip(*sorted(places), strict=True)
            axes.plot(xs, ys, color=colour_of(family), linewidth=1.2, alpha=0.6, zorder=1)
        for value, name in ((frontier.raw, "raw upstream"), (frontier.chance, "chance")):
            if value is not None:
                axes.axvline(100 * value, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
                axes.annotate(
                    name,
                    (100 * value, 0),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, 4),
                    textcoords="offset points",
                    fontsize=8.5,
                    color=GREY,
                    rotation=90,
                    va="bottom",
                )
                said.append(f"{name}: leakage {100 * value:.1f}.")
        axes.margins(x=0.12, y=0.1)
        axes.set_xlim(left=max(axes.get_xlim()[0], -1.5))
        axes.set_xlabel(
            f"Speaker leakage: accuracy of a fresh probe, %   ({frontier.axis.split(';')[0]})",
            fontsize=9.5,
        )
        axes.set_ylabel("WA on the test set, %")
        label_points(plot, axes, labels)
        png = to_png(plot)
    return Figure(
        name=file_name("frontier", frontier.upstream),
        title=f"Accuracy against leakage, {frontier.upstream}",
        caption=f"Up and to the left is better. {frontier.axis}, mean over all "
        "runs; leakage: mean over the probed ones; bars: ± one standard deviation. A line joins "
        "the λ of one strategy.",
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
    first = min(
        (
            entry.row.probe != "linear",
            entry.row.probe,
            entry.row.corpus != "speaker",
            entry.row.corpus,
        )
        for entry in rows
    )
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
            axes.plot(
                layers,
                means,
                marker="o",
                markersize=4,
                color=CYCLE[number % len(CYCLE)],
                label=name,
            )
            said.append(
                f"{name}: {means[0]:.1f} at layer {layers[0]}, {means[-1]:.1f} at {layers[-1]}."
            )
        axes.set_xlabel("Layer")
        axes.set_ylabel("Speaker accuracy, %")
        axes.set_ylim(bottom=0)
        plot.legend(loc="outside upper left", fontsize=8.5, ncols=2)
        png = to_png(plot)
    return Figure(
        name="leakage_by_layer",
        title="Leakage by layer",
        caption=f"Accuracy of the {first[1]} probe on each layer, {first[3]} corpus; mean "
        "over audits.",
        alt="Line chart of speaker probe accuracy in percent per layer. " + " ".join(said),
        png=png,
    )


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


def _draw_curve(axes: "Axes", group: Group, key: str, colour: str) -> bool:
    for run in group.runs[:30]:
        if points := _points(run, key):
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.5, alpha=0.25)
    steps, mean = _mean_curve(group.runs, key)
    axes.plot(steps, mean, color=colour, linewidth=1.8, label=shorten(group.method.label, 44))
    return bool(steps)


def _log_k(axes: "Axes", groups: Sequence[Group]) -> list[str]:
    values = {
        round(step.log_num_speakers, 6)
        for group in groups
        for run in group.runs
        for step in run.history
        if step.log_num_speakers
    }
    for value in sorted(values):
        axes.axhline(value, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
        axes.annotate(
            "log K",
            (0, value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=8.5,
            color=GREY,
        )
    return [f"log K is {value:.2f}" for value in sorted(values)]


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
