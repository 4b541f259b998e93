"""The figures of where the errors fall: confusions between classes, accuracy per speaker.

After `scores.py` and `canvas.py` in the report.
"""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from spknorm.report.canvas import (
    INK,
    Figure,
    colours_of,
    file_name,
    new_plot,
    shorten,
    style,
    to_png,
)
from spknorm.report.estimates import pooled_confusion, speakers_of
from spknorm.report.scores import Scored
from spknorm.statistics import speaker_spread

_MOST_SPEAKERS = 40


def draw_confusions(scored: Scored) -> Iterator[Figure]:
    """Draw the confusion matrix of every method, one figure per upstream."""
    for upstream in dict.fromkeys(e.method.upstream_label for e in scored.estimates):
        groups = [e.group for e in scored.estimates if e.method.upstream_label == upstream]
        classes = groups[0].runs[0].classes
        groups = [group for group in groups if {run.classes for run in group.runs} == {classes}]
        columns = min(4, len(groups))
        rows = -(-len(groups) // columns)
        said = []
        with style():
            plot, grid = new_plot(2.2 * columns + 0.5, 2.7 * rows, rows=rows, columns=columns)
            cells = [axes for line in grid for axes in line]
            for axes in cells[len(groups) :]:
                axes.set_visible(False)
            for number, (group, axes) in enumerate(zip(groups, cells, strict=False)):
                counts = pooled_confusion(group.runs)
                share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
                axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
                for (row, column), value in np.ndenumerate(share):
                    axes.text(
                        column,
                        row,
                        f"{value:.0f}",
                        ha="center",
                        va="center",
                        fontsize=9,
                        color="white" if value > 55 else INK,
                    )
                names = [shorten(name, 8) for name in classes]
                axes.set_xticks(range(len(names)), names, fontsize=8.5)
                axes.set_yticks(range(len(names)), names, fontsize=8.5)
                axes.grid(visible=False)
                axes.tick_params(length=0)
                axes.spines[:].set_visible(False)
                axes.set_title(_wrapped(group.method.label), fontsize=9)
                if number % columns == 0:
                    axes.set_ylabel("true", fontsize=9)
                if number + columns >= len(groups):
                    axes.set_xlabel("predicted", fontsize=9)
                recalls = ", ".join(
                    f"{name} {value:.0f}"
                    for name, value in zip(classes, share.diagonal(), strict=True)
                )
                said.append(f"{group.method.label}: recall {recalls}.")
            png = to_png(plot)
        yield Figure(
            name=file_name("confusion", scored.block.protocol, upstream),
            title=f"Confusions, {upstream}, {scored.block.protocol}",
            caption="Percent of the utterances of each true class (rows add up to 100), all runs "
            "of a method pooled.",
            alt="Confusion matrices, one per method, in percent of each true class. "
            + " ".join(said),
            png=png,
        )


def draw_speakers(scored: Scored) -> Iterator[Figure]:
    """Draw the unweighted accuracy of every test speaker, one figure per upstream."""
    for upstream in dict.fromkeys(e.method.upstream_label for e in scored.estimates):
        groups = [
            e.group
            for e in scored.estimates
            if e.method.upstream_label == upstream and e.spread and not e.method.shuffled
        ]
        if not groups:
            continue
        spreads = {group.method: speaker_spread(speakers_of(group.runs)) for group in groups}
        base = spreads[groups[0].method]
        names = sorted(base.ua, key=lambda name: (base.ua[name], name))
        cut = names[:_MOST_SPEAKERS]
        colours = dict(zip(spreads, colours_of([method.family for method in spreads]), strict=True))
        with style():
            plot, ((axes,),) = new_plot(8.4, 3.6 if len(cut) < 21 else 4.4)
            width = 0.8 / len(spreads)
            for number, (method, per_speaker) in enumerate(spreads.items()):
                heights = [100 * per_speaker.ua.get(name, float("nan")) for name in cut]
                axes.bar(
                    np.arange(len(cut)) + (number - (len(spreads) - 1) / 2) * width,
                    heights,
                    width * 0.92,
                    color=colours[method],
                    label=shorten(method.label, 40),
                )
            axes.set_xticks(
                range(len(cut)),
                [shorten(name, 14) for name in cut],
                rotation=0 if len(cut) < 9 else 40,
                fontsize=8.5,
                ha="center" if len(cut) < 9 else "right",
            )
            axes.grid(axis="x", visible=False)
            axes.set_ylabel("UA, %")
            plot.legend(loc="outside upper left", ncols=min(3, len(spreads)), fontsize=8.5)
            png = to_png(plot)
        said = " ".join(
            f"{method.label}: worst {per_speaker.worst} {100 * per_speaker.worst_ua:.1f}, "
            f"spread {100 * per_speaker.spread:.1f} points."
            for method, per_speaker in spreads.items()
        )
        yield Figure(
            name=file_name("speakers", scored.block.protocol, upstream),
            title=f"Accuracy per test speaker, {upstream}, {scored.block.protocol}",
            caption="UA over the classes a speaker has, all runs pooled, speakers in the order of "
            f"the first method{_cut_note(names)}.",
            alt=f"Bars of unweighted accuracy for {len(cut)} speakers. {said}",
            png=png,
        )


def _wrapped(label: str) -> str:
    return "\n".join(textwrap.wrap(shorten(label, 60), 24)[:3])


def _cut_note(names: Sequence[str]) -> str:
    if len(names) <= _MOST_SPEAKERS:
        return ""
    return f" (the {_MOST_SPEAKERS} with the lowest of {len(names)})"
