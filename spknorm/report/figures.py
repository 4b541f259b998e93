"""The figures of accuracy: per method with leakage beside it, few labels, confusions, speakers.

After `leakage.py` and `canvas.py` in the report; `pictures.py` draws training and leakage. Every
function returns None, or yields nothing, where there is nothing to draw.
"""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from spknorm.report import paper
from spknorm.report.canvas import (
    GREY,
    INK,
    Figure,
    colour_of,
    colours_of,
    file_name,
    marker_of,
    new_plot,
    shorten,
    spread,
    style,
    to_png,
)
from spknorm.report.leakage import Frontier
from spknorm.report.score_tables import corpora_of
from spknorm.report.scores import Block, Estimate
from spknorm.report.tables import signed_points
from spknorm.statistics import pool_speakers, speaker_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAR_CHANCE = 15  # points; further away it would squeeze everything else
_LEVEL = 0.05
_MOST_SPEAKERS = 40


def draw_accuracies(block: Block, frontiers: list[Frontier]) -> Figure | None:
    """Draw WA of every method with its interval over speakers, and where probed its leakage."""
    upstreams = block.by_upstream()
    known = {one.upstream: one for one in frontiers if one.protocol == block.protocol}
    leaks = {point.method: point.leakage for one in known.values() for point in one.points}
    comparable = corpora_of([block]) == [paper.CORPUS]
    lowest, chance = 100 * float(block.rows["wa"].min()), 100 * block.chance.wa
    near = abs(lowest - chance) < _NEAR_CHANCE
    axis = next((one.axis for one in known.values() if one.points), "")
    leak = f" Leakage: {axis}; dashed: the raw upstream and chance." if leaks else ""
    height = 0.9 + 0.36 * len(block.estimates) + 0.35 * len(upstreams)
    with style():
        plot, (row,) = new_plot(8.4 + 2.6 * bool(leaks), height, columns=1 + bool(leaks),
                                shares=(2.1, 1.0))  # fmt: skip
        ticks, place, said = [], 0.0, []
        for upstream, estimates in upstreams.items():
            row[0].annotate(shorten(upstream, 60), (0, place - 0.12), va="center", fontsize=9.5,
                            xycoords=("axes fraction", "data"), fontweight="bold",
                            xytext=(4, 0), textcoords="offset points")  # fmt: skip
            place += 0.8
            for one in estimates:
                said.append(_draw_accuracy(row[0], one, place, block.protocol, comparable))
                if leaks:
                    said[-1] += _draw_leakage(row[1], one, leaks.get(one.method), place)
                ticks.append((place, shorten(one.method.label, 46)))
                place += 1
            place += 0.2
        if near:
            row[0].axvline(chance, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        row[0].set_yticks(*map(list, zip(*ticks, strict=True)))
        row[0].set_xlabel("WA on the test set, %")
        for axes in row:
            axes.set_ylim(place - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            axes.margins(x=0.12)
        if leaks:
            row[1].set_yticks([])
            row[1].set_xlim(0, row[1].get_xlim()[1] * 1.1)
            row[1].set_xlabel("Speaker leakage, % (less is better)")
            for frontier in known.values():
                _draw_raw(row[1], frontier, place)
        png = to_png(plot)
    return Figure(
        name=file_name("accuracy", block.protocol),
        title=f"Accuracy per method{' and leakage' if leaks else ''}, {block.protocol}",
        caption="Large mark and number: mean WA over runs; behind it the difference to strategy "
        "none in points, bold where it can be told from none (5 % level, Holm). Bar: 95 % interval "
        "over speakers. Small dots: single runs."
        + (" Open grey diamond: the paper's number." if comparable else "")
        + (" Dashed: chance," if near else " Chance (not drawn):")
        + f" {chance:.1f} (always {block.chance.majority})."
        + leak,
        alt="Dot plot of weighted accuracy in percent. " + " ".join(said),
        png=png,
    )


def draw_low_resource(block: Block) -> Figure | None:
    """Draw WA against training utterances per label, with bands over draws and seeds."""
    drawn = [
        (one.method, one.curve)
        for one in block.estimates
        if one.curve is not None and len(one.curve.num_samples) > 1
    ]
    if not drawn:
        return None
    comparable = corpora_of([block]) == [paper.CORPUS]
    with style():
        plot, ((axes,),) = new_plot(8.4, 4.6)
        ends: list[tuple[float, float, str, str]] = []
        for strategy, values in paper.CURVES.items() if comparable else ():
            axes.plot(paper.NUM_POINTS, values, color="#bbbbbb", linewidth=1, zorder=1)
            ends.append((1000, values[-1], f"paper: {strategy}", "#8a8a8a"))
        said = []
        colours = colours_of([method.family for method, _ in drawn])
        for (method, found), colour in zip(drawn, colours, strict=True):
            x, mean, std = found.num_samples, 100 * found.mean, 100 * found.std
            axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
            axes.plot(x, mean, color=colour, marker=marker_of(method.family), markersize=5)
            name = method.label
            if len({one.upstream for one, _ in drawn}) > 1:
                name = f"{method.upstream}: {name}"
            ends.append((x[-1], float(mean[-1]), name, colour))
            area = ""
            if found.paper_auc is not None and found.normalised_auc is not None:
                areas = 100 * found.paper_auc, 100 * found.normalised_auc
                area = " (AUC {:.1f}, normalised {:.1f})".format(*areas)
            said.append(f"{name}: {mean[0]:.1f} at {x[0]}, {mean[-1]:.1f} at {x[-1]}{area}.")
        _label_ends(axes, ends)
        axes.set_xlabel("Training utterances per label (up to)")
        axes.set_ylabel("WA on the test set, %")
        png = to_png(plot)
    return Figure(
        name="low_resource",
        title="Accuracy with few training utterances",
        caption="Mean over folds, draws and seeds; band: ± one standard deviation over draws and "
        "seeds (none where there is a single one)."
        + (f" Grey: the paper's curves, {paper.DIGITISED}." if comparable else ""),
        alt="Line chart of weighted accuracy against training utterances per label. "
        + " ".join(said),
        png=png,
    )


def draw_confusions(block: Block) -> Iterator[Figure]:
    """Draw the confusion matrix of every method, one figure per upstream."""
    for upstream, estimates in block.by_upstream().items():
        classes = estimates[0].rows.iloc[0]["classes"]
        alike = [one for one in estimates if {*one.rows["classes"]} == {classes}]
        columns = min(4, len(alike))
        rows = -(-len(alike) // columns)
        names = [shorten(name, 8) for name in classes]
        said = []
        with style():
            plot, grid = new_plot(2.2 * columns + 0.5, 2.7 * rows, rows=rows, columns=columns)
            cells = [axes for line in grid for axes in line]
            for axes in cells[len(alike) :]:
                axes.set_visible(False)
            for number, (one, axes) in enumerate(zip(alike, cells, strict=False)):
                counts = sum(np.asarray(each, dtype=np.float64) for each in one.rows["confusion"])
                share: Any = 100 * counts / np.maximum(np.sum(counts, axis=1, keepdims=True), 1)
                axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
                for (row, column), value in np.ndenumerate(share):
                    axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=9,
                              color="white" if value > 55 else INK)  # fmt: skip
                axes.set_xticks(range(len(names)), names, fontsize=8.5)
                axes.set_yticks(range(len(names)), names, fontsize=8.5)
                axes.grid(visible=False)
                axes.tick_params(length=0)
                axes.spines[:].set_visible(False)
                title = textwrap.wrap(shorten(one.method.label, 60), 24)[:3]
                axes.set_title("\n".join(title), fontsize=9)
                if number % columns == 0:
                    axes.set_ylabel("true", fontsize=9)
                if number + columns >= len(alike):
                    axes.set_xlabel("predicted", fontsize=9)
                recalls = zip(classes, share.diagonal(), strict=True)
                told = ", ".join(f"{name} {value:.0f}" for name, value in recalls)
                said.append(f"{one.method.label}: recall {told}.")
            png = to_png(plot)
        yield Figure(
            name=file_name("confusion", block.protocol, upstream),
            title=f"Confusions, {upstream}, {block.protocol}",
            caption="Percent of the utterances of each true class (rows add up to 100), all runs "
            "of a method pooled.",
            alt="Confusion matrices, one per method, in percent of each true class. "
            + " ".join(said),
            png=png,
        )


def draw_speakers(block: Block) -> Iterator[Figure]:
    """Draw the unweighted accuracy of every test speaker, one figure per upstream."""
    for upstream, estimates in block.by_upstream().items():
        drawn = [one for one in estimates if one.spread and not one.method.shuffled]
        if not drawn:
            continue
        spreads = [speaker_spread(pool_speakers(one.rows["by_speaker"])) for one in drawn]
        base = spreads[0].ua
        names = sorted(base, key=lambda name: (base[name], name))
        cut = names[:_MOST_SPEAKERS]
        colours = colours_of([one.method.family for one in drawn])
        with style():
            plot, ((axes,),) = new_plot(8.4, 3.6 if len(cut) < 21 else 4.4)
            width = 0.8 / len(spreads)
            for number, (one, found) in enumerate(zip(drawn, spreads, strict=True)):
                heights = [100 * found.ua.get(name, float("nan")) for name in cut]
                shifted = np.arange(len(cut)) + (number - (len(spreads) - 1) / 2) * width
                label = shorten(one.method.label, 40)
                axes.bar(shifted, heights, width * 0.92, color=colours[number], label=label)
            few = len(cut) < 9
            axes.set_xticks(range(len(cut)), [shorten(name, 14) for name in cut], fontsize=8.5,
                            rotation=0 if few else 40, ha="center" if few else "right")  # fmt: skip
            axes.grid(axis="x", visible=False)
            axes.set_ylabel("UA, %")
            plot.legend(loc="outside upper left", ncols=min(3, len(spreads)), fontsize=8.5)
            png = to_png(plot)
        note = f" (the {len(cut)} with the lowest of {len(names)})" if len(names) > len(cut) else ""
        said = " ".join(
            f"{one.method.label}: worst {found.worst} {100 * found.worst_ua:.1f}, "
            f"spread {100 * found.spread:.1f} points."
            for one, found in zip(drawn, spreads, strict=True)
        )
        yield Figure(
            name=file_name("speakers", block.protocol, upstream),
            title=f"Accuracy per test speaker, {upstream}, {block.protocol}",
            caption="UA over the classes a speaker has, all runs pooled, speakers in the order of "
            f"the first method{note}.",
            alt=f"Bars of unweighted accuracy for {len(cut)} speakers. {said}",
            png=png,
        )


def _draw_accuracy(
    axes: "Axes", one: Estimate, place: float, protocol: str, comparable: bool
) -> str:
    colour, mean = colour_of(one.method.family), 100 * one.scores["wa"].mean
    values = [100 * float(wa) for wa in one.rows["wa"]]
    axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.35, markersize=5)
    ends, span = [mean], ""
    if interval := one.intervals.get("wa"):
        ends = [100 * interval.low, 100 * interval.high]
        axes.plot(ends, [place, place], color=colour, linewidth=2.2, alpha=0.75)
        span = f" (95 % interval {ends[0]:.1f} to {ends[1]:.1f})"
    axes.plot(mean, place, marker_of(one.method.family), color=colour, markersize=8,
              markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
    published = paper.published(one.method, protocol) if comparable else None
    if published is not None:
        axes.plot(published, place, "D", color=GREY, markersize=6, markerfacecolor="none")
    right = max([ends[-1], *values, published or 0.0])
    told, weight = f"{mean:.1f}", "normal"
    if one.comparison is not None:
        told += f" ({signed_points(one.comparison.difference)})"
        weight = "bold" if (1.0 if one.p_holm is None else one.p_holm) < _LEVEL else "normal"
    axes.annotate(told, (right, place), xytext=(7, 0), va="center", textcoords="offset points",
                  fontsize=9.5, fontweight=weight)  # fmt: skip
    return f"{one.method.upstream}, {one.method.label}: {mean:.1f}{span}."


def _draw_leakage(axes: "Axes", one: Estimate, leakage: Any, place: float) -> str:
    if leakage is None:
        axes.text(0, place, " not probed", va="center", fontsize=8.5, color=GREY)
        return ""
    value = 100 * leakage.mean
    axes.barh(place, value, height=0.5, color=colour_of(one.method.family), alpha=0.75)
    axes.annotate(f"{value:.1f}", (value, place), xytext=(4, 0), textcoords="offset points",
                  va="center", fontsize=9)  # fmt: skip
    return f" Leakage {value:.1f}."


def _draw_raw(axes: "Axes", frontier: Frontier, bottom: float) -> None:
    for value in (frontier.raw, frontier.chance):
        if value is not None:
            axes.axvline(100 * value, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
    if frontier.raw is not None:
        axes.annotate("raw", (100 * frontier.raw, bottom - 0.45), xytext=(-2, 0), fontsize=8.5,
                      textcoords="offset points", color=GREY, ha="right", va="bottom")  # fmt: skip


def _label_ends(axes: "Axes", ends: list[tuple[float, float, str, str]]) -> None:
    """Write each curve's name at its end, pushed apart where they would collide."""
    low, high = axes.get_ylim()
    heights = spread([end[1] for end in ends], (high - low) / 20)
    for (x, y, name, colour), height in zip(ends, heights, strict=True):
        arrow = {"arrowstyle": "-", "color": colour, "alpha": 0.35, "shrinkA": 1, "shrinkB": 4}
        axes.annotate(shorten(name, 36), (x, y), xytext=(1.02, height), va="center", fontsize=9,
                      textcoords=axes.get_yaxis_transform(), color=colour, annotation_clip=False,
                      arrowprops=arrow | {"relpos": (0, 0.5)})  # fmt: skip
