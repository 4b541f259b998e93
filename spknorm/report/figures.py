"""The figures of accuracy: per method with leakage beside it, few labels, confusions, speakers.

After `leakage.py` and `canvas.py` in the report; `pictures.py` draws training and leakage. Every
function returns None, or yields nothing, where there is nothing to draw.
"""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from spknorm.report import canvas, paper
from spknorm.report.blocks import Block, Estimate
from spknorm.report.canvas import GREY, INK, Figure, drawing, shorten
from spknorm.report.leakage import Frontier
from spknorm.report.score_tables import corpora_of, is_found
from spknorm.report.tables import signed_points, with_span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAR_CHANCE = 15  # points; further away it would squeeze everything else
_MOST_SPEAKERS = 40


def draw_accuracies(block: Block, frontiers: list[Frontier]) -> Figure:
    """Draw WA of every method with its interval over speakers, and where probed its leakage."""
    known = [one for one in frontiers if one.protocol == block.protocol]
    leaks = {point.method: point.leakage.mean for one in known for point in one.points}
    comparable = corpora_of([block]) == [paper.CORPUS]
    assert block.chance is not None  # of classes
    chance = 100 * block.chance.wa
    near = abs(100 * float(block.rows["wa"].min()) - chance) < _NEAR_CHANCE
    height = 0.9 + 0.36 * len(block.estimates) + 0.35 * len(block.by_upstream())
    with drawing(8.4 + 2.6 * bool(leaks), height, columns=1 + bool(leaks),
                 shares=(2.1, 1.0)) as picture:  # fmt: skip
        axes, *beside = picture.grid[0]
        ticks, place = [], 0.0
        for upstream, estimates in block.by_upstream().items():
            canvas.write_beside(axes, shorten(upstream, 60), (0, place - 0.12), (4, 0), va="center",
                         fontsize=9.5, fontweight="bold",
                         xycoords=("axes fraction", "data"))  # fmt: skip
            place += 0.8
            for one in estimates:
                published = paper.published(one.method, block.protocol) if comparable else None
                _draw_accuracy(axes, one, place, published)
                leak = leaks.get(one.method)
                if leaks:
                    _draw_leakage(beside[0], one, leak, place)
                picture.say("accuracy-of", one=one, leak=leak)
                ticks.append((place, shorten(one.method.label, 46)))
                place += 1
            place += 0.2
        if near:
            canvas.draw_limit(axes, chance)
        axes.set_yticks(*map(list, zip(*ticks, strict=True)))
        axes.set_xlabel("WA on the test set, %")
        for each in (axes, *beside):
            each.set_ylim(place - 0.4, -0.6)
            each.grid(axis="y", visible=False)
            each.tick_params(axis="y", length=0)
            each.margins(x=0.12)
        if leaks:
            _finish_leakage(beside[0], known, place)
        axis = next((one.axis for one in known if one.points), "")
        values = {"comparable": comparable, "near": near, "axis": axis if leaks else ""}
        return picture.finish("accuracies", "accuracy", block.protocol, block=block, **values)


def draw_low_resource(block: Block) -> Figure | None:
    """Draw WA against training utterances per label, with bands over draws and seeds."""
    curves = [(one.method, one.curve) for one in block.estimates if one.curve is not None]
    drawn = [(method, curve) for method, curve in curves if len(curve.num_samples) > 1]
    if not drawn:
        return None
    comparable = corpora_of([block]) == [paper.CORPUS]
    with drawing(8.4, 4.6) as picture:
        axes = picture.axes
        ends: list[tuple[float, float, str, str]] = []
        for strategy, values in paper.CURVES.items() if comparable else ():
            axes.plot(paper.NUM_POINTS, values, color="#bbbbbb", linewidth=1, zorder=1)
            ends.append((1000, values[-1], f"paper: {strategy}", "#8a8a8a"))
        several = len({method.upstream for method, _ in drawn}) > 1
        colours = canvas.colours_of([method.family for method, _ in drawn])
        for (method, found), colour in zip(drawn, colours, strict=True):
            x, mean, std = found.num_samples, 100 * found.mean, 100 * found.std
            axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                x, mean, color=colour, marker=canvas.MARKERS.get(method.family, "P"), markersize=5
            )
            name = f"{method.upstream}: {method.label}" if several else method.label
            ends.append((x[-1], float(mean[-1]), name, colour))
            picture.say("curve-of", name=name, curve=found)
        _label_ends(axes, ends)
        axes.set(xlabel="Training utterances per label (up to)", ylabel="WA on the test set, %")
        return picture.finish("curves", "low_resource", comparable=comparable, paper=paper)


def draw_confusions(block: Block) -> Iterator[Figure]:
    """Draw the confusion matrix of every method, one figure per upstream."""
    for upstream, estimates in block.by_upstream().items():
        classes = estimates[0].rows.iloc[0]["classes"]
        alike = [one for one in estimates if {*one.rows["classes"]} == {classes}]
        columns = min(4, len(alike))
        rows = -(-len(alike) // columns)
        with drawing(2.2 * columns + 0.5, 2.7 * rows, rows=rows, columns=columns) as picture:
            cells = [axes for line in picture.grid for axes in line]
            for axes in cells[len(alike) :]:
                axes.set_visible(False)
            for number, (one, axes) in enumerate(zip(alike, cells, strict=False)):
                counts = sum(np.asarray(each, dtype=np.float64) for each in one.rows["confusion"])
                share: Any = 100 * counts / np.maximum(np.sum(counts, axis=1, keepdims=True), 1)
                _draw_confusion(axes, share, classes)
                title = textwrap.wrap(shorten(one.method.label, 60), 24)[:3]
                axes.set_title("\n".join(title), fontsize=9)
                if number % columns == 0:
                    axes.set_ylabel("true", fontsize=9)
                if number + columns >= len(alike):
                    axes.set_xlabel("predicted", fontsize=9)
                recalls = dict(zip(classes, share.diagonal(), strict=True))
                picture.say("recalls-of", method=one.method, recalls=recalls)
            at = {"upstream": upstream, "protocol": block.protocol}
            yield picture.finish("confusions", "confusion", block.protocol, upstream, **at)


def draw_speakers(block: Block) -> Iterator[Figure]:
    """Draw the UA of every test speaker, and how sure the worst is, one figure per upstream."""
    for upstream, estimates in block.by_upstream().items():
        spreads = [(one, one.spread) for one in estimates if not one.method.shuffled]
        drawn = [(one, spread) for one, spread in spreads if spread]
        if not drawn:
            continue
        base = drawn[0][1].ua
        names = sorted(base, key=lambda name: (base[name], name))
        cut = names[:_MOST_SPEAKERS]
        colours = canvas.colours_of([one.method.family for one, _ in drawn])
        with drawing(8.4, 3.6 if len(cut) < 21 else 4.4) as picture:
            axes, width = picture.axes, 0.8 / len(drawn)
            for number, (one, found) in enumerate(drawn):
                heights = [100 * found.ua.get(name, float("nan")) for name in cut]
                shifted = np.arange(len(cut)) + (number - (len(drawn) - 1) / 2) * width
                label = shorten(one.method.label, 40)
                axes.bar(shifted, heights, width * 0.92, color=colours[number], label=label)
                worst = one.scores["ua_worst"]
                if found.worst in cut and worst.low is not None and worst.high is not None:
                    x = shifted[cut.index(found.worst)]
                    axes.plot([x, x], [100 * worst.low, 100 * worst.high], color=INK, linewidth=1.2)
                texts = [with_span(score.pooled, score.low, score.high)
                         for score in one.scores.values()]  # fmt: skip
                picture.say("among", label=one.method.label, worst=found.worst, texts=texts)
            few = len(cut) < 9
            axes.set_xticks(range(len(cut)), [shorten(name, 14) for name in cut], fontsize=8.5,
                            rotation=0 if few else 40, ha="center" if few else "right")  # fmt: skip
            axes.grid(axis="x", visible=False)
            axes.set_ylabel("UA, %")
            picture.plot.legend(loc="outside upper left", ncols=min(3, len(drawn)))
            counts = {"num_drawn": len(cut), "num_speakers": len(names)}
            at = {"upstream": upstream, "protocol": block.protocol}
            yield picture.finish("speakers", "speakers", block.protocol, upstream, **at, **counts)


def _draw_accuracy(axes: "Axes", one: Estimate, place: float, published: float | None) -> None:
    colour, wa = canvas.colour_of(one.method.family), one.scores["wa"]
    assert wa.mean is not None  # of classes
    mean = right = 100 * wa.mean
    values = [100 * float(value) for value in one.rows["wa"]]
    axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.35, markersize=5)
    if wa.low is not None and wa.high is not None:
        right = 100 * wa.high
        axes.plot([100 * wa.low, right], [place, place], color=colour, linewidth=2.2, alpha=0.75)
    right = max(right, *values, published or 0.0)
    axes.plot(mean, place, canvas.MARKERS.get(one.method.family, "P"), color=colour, markersize=8,
              markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
    if published is not None:
        axes.plot(published, place, "D", color=GREY, markersize=6, markerfacecolor="none")
    told = f"{mean:.1f}"
    told += "" if wa.test is None else f" ({signed_points(wa.test.difference)})"
    weight = "bold" if is_found(wa.test) else "normal"
    canvas.write_beside(
        axes, told, (right, place), (7, 0), va="center", fontsize=9.5, fontweight=weight
    )


def _draw_leakage(axes: "Axes", one: Estimate, leak: float | None, place: float) -> None:
    if leak is None:
        axes.text(0, place, " not probed", va="center", fontsize=8.5, color=GREY)
        return
    axes.barh(place, 100 * leak, height=0.5, color=canvas.colour_of(one.method.family), alpha=0.75)
    canvas.write_beside(axes, f"{100 * leak:.1f}", (100 * leak, place), (4, 0), va="center",
                        fontsize=9)  # fmt: skip


def _finish_leakage(axes: "Axes", frontiers: list[Frontier], bottom: float) -> None:
    axes.set_yticks([])
    axes.set_xlim(0, axes.get_xlim()[1] * 1.1)
    axes.set_xlabel("Speaker leakage, % (less is better)")
    for one in frontiers:
        if one.raw is not None:
            place = bottom - 0.45
            canvas.draw_limit(
                axes, 100 * one.raw, "raw", (-2, 0), at=place, ha="right", va="bottom"
            )
        if one.chance is not None:
            canvas.draw_limit(axes, 100 * one.chance)


def _draw_confusion(axes: "Axes", share: Any, classes: tuple[str, ...]) -> None:
    """Draw a matrix (C, C) of per cent of each true class."""
    names = [shorten(name, 8) for name in classes]
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(share):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=9,
                  color="white" if value > 55 else INK)  # fmt: skip
    axes.set_xticks(range(len(names)), names, fontsize=8.5)
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _label_ends(axes: "Axes", ends: list[tuple[float, float, str, str]]) -> None:
    """Write each curve's name at its end, pushed apart where they would collide."""
    low, high = axes.get_ylim()
    heights = canvas.spread([end[1] for end in ends], (high - low) / 20)
    for (x, y, name, colour), height in zip(ends, heights, strict=True):
        arrow = {"arrowstyle": "-", "color": colour, "alpha": 0.35, "shrinkA": 1, "shrinkB": 4}
        axes.annotate(shorten(name, 36), (x, y), xytext=(1.02, height), va="center", fontsize=9,
                      textcoords=axes.get_yaxis_transform(), color=colour, annotation_clip=False,
                      arrowprops=arrow | {"relpos": (0, 0.5)})  # fmt: skip
