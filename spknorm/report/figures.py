"""The figures of accuracy: per method, few labels, confusions, speakers.

After `scores.py` and `canvas.py` in the report; `pictures.py` draws training, leakage and features.
Every function returns None where there is nothing to draw.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from spknorm.report import paper
from spknorm.report.canvas import (
    CYCLE,
    FAINT,
    GREY,
    INK,
    Figure,
    colour_of,
    file_name,
    marker_of,
    new_plot,
    shorten,
    style,
    to_png,
)
from spknorm.report.estimates import Estimate, pooled_confusion, speakers_of
from spknorm.report.methods import Method
from spknorm.report.scores import Scored, corpora_of
from spknorm.statistics import speaker_spread

_MOST_SPEAKERS = 40
_PAPER_PROTOCOLS = ("si5", "sd")


def draw_accuracies(scored: Scored) -> Figure | None:
    """Draw WA of every method with its interval over speakers, every run as a dot."""
    estimates = scored.estimates
    if not estimates:
        return None
    upstreams = list(dict.fromkeys(entry.method.upstream_label for entry in estimates))
    height = 0.9 + 0.36 * len(estimates) + 0.35 * len(upstreams)
    comparable = corpora_of(scored.runs) == [paper.CORPUS]
    with style():
        plot, ((axes,),) = new_plot(8.4, height)
        places, names, place, said = [], [], 0.0, []
        for upstream in upstreams:
            axes.annotate(
                shorten(upstream, 60),
                (0, place - 0.12),
                xycoords=("axes fraction", "data"),
                fontweight="bold",
                fontsize=9.5,
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
            place += 0.8
            for entry in (e for e in estimates if e.method.upstream_label == upstream):
                published = _published(entry, scored.block.protocol) if comparable else None
                said.append(_draw_accuracy(axes, entry, place, published))
                places.append(place)
                names.append(shorten(entry.method.label, 46))
                place += 1
            place += 0.2
        axes.axvline(100 * scored.chance.wa, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(
            "chance",
            (100 * scored.chance.wa, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            fontsize=8.5,
            color=GREY,
            va="top",
        )
        axes.set_yticks(places, names)
        axes.set_ylim(place - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        axes.set_xlabel("WA on the test set, %")
        png = to_png(plot)
    return Figure(
        name=file_name("accuracy", scored.block.protocol),
        title=f"Accuracy per method, {scored.block.protocol}",
        caption="Large mark and number: mean WA over runs. Bar: 95 % interval over speakers. Small "
        "dots: single runs."
        + (" Open grey diamond: the paper's number." if comparable else "")
        + f" Dashed: chance (always {scored.chance.majority}).",
        alt="Dot plot of weighted accuracy in percent. " + " ".join(said),
        png=png,
    )


def draw_low_resource(scored: Scored) -> Figure | None:
    """Draw WA against training utterances per label, with bands over draws and seeds."""
    drawn = {method: found for method, found in scored.curves.items() if len(found.num_samples) > 1}
    if not drawn:
        return None
    comparable = corpora_of(scored.runs) == [paper.CORPUS]
    with style():
        plot, ((axes,),) = new_plot(8.4, 4.6)
        ends: list[tuple[float, float, str, str]] = []
        if comparable:
            for strategy, values in paper.CURVES.items():
                axes.plot(paper.NUM_POINTS, values, color="#bbbbbb", linewidth=1, zorder=1)
                ends.append((1000, values[-1], f"paper: {strategy}", "#8a8a8a"))
        colours = _distinct([*drawn])
        said = []
        for method, found in drawn.items():
            mean, std, colour = 100 * found.mean, 100 * found.std, colours[method]
            axes.fill_between(found.num_samples, mean - std, mean + std, color=colour, alpha=0.15,
                              linewidth=0)
            axes.plot(found.num_samples, mean, color=colour, marker=marker_of(method.family),
                      markersize=5, linewidth=1.8)
            name = method.label if len({m.upstream for m in drawn}) == 1 else (
                f"{method.upstream_label}: {method.label}")
            ends.append((found.num_samples[-1], float(mean[-1]), name, colour))
            area = "" if found.paper_auc is None else (
                f" (AUC {100 * found.paper_auc:.1f}, normalised {100 * found.normalised_auc:.1f})"
                if found.normalised_auc is not None else "")
            said.append(f"{name}: {mean[0]:.1f} at {found.num_samples[0]}, {mean[-1]:.1f} at "
                        f"{found.num_samples[-1]}{area}.")
        low, high = axes.get_ylim()
        _label_ends(axes, ends, (high - low) / 17)
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
            plot, grid = new_plot(2.2 * columns + 0.5, 2.55 * rows, rows=rows, columns=columns)
            cells = [axes for line in grid for axes in line]
            for axes in cells[len(groups) :]:
                axes.set_visible(False)
            for number, (group, axes) in enumerate(zip(groups, cells, strict=False)):
                counts = pooled_confusion(group.runs)
                share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
                axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
                for (row, column), value in np.ndenumerate(share):
                    axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=9,
                              color="white" if value > 55 else INK)
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
                    f"{name} {value:.0f}" for name, value in zip(classes, share.diagonal(), strict=True)
                )
                said.append(f"{group.method.label}: recall {recalls}.")
            png = to_png(plot)
        yield Figure(
            name=file_name("confusion", scored.block.protocol, upstream),
            title=f"Confusions, {upstream}, {scored.block.protocol}",
            caption="Percent of the utterances of each true class (rows add up to 100), all runs of "
            "a method pooled.",
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
        colours = _distinct([*spreads])
        with style():
            plot, ((axes,),) = new_plot(8.4, 3.6 if len(cut) < 21 else 4.4)
            width = 0.8 / len(spreads)
            for number, (method, spread) in enumerate(spreads.items()):
                heights = [100 * spread.ua.get(name, float("nan")) for name in cut]
                axes.bar(np.arange(len(cut)) + (number - (len(spreads) - 1) / 2) * width, heights,
                         width * 0.92, color=colours[method], label=shorten(method.label, 40))
            axes.set_xticks(range(len(cut)), [shorten(name, 14) for name in cut],
                            rotation=0 if len(cut) < 9 else 40, fontsize=8.5,
                            ha="center" if len(cut) < 9 else "right")
            axes.grid(axis="x", visible=False)
            axes.set_ylabel("UA, %")
            plot.legend(loc="outside upper left", ncols=min(3, len(spreads)), fontsize=8.5)
            png = to_png(plot)
        said = " ".join(
            f"{method.label}: worst {spread.worst} {100 * spread.worst_ua:.1f}, "
            f"spread {100 * spread.spread:.1f} points." for method, spread in spreads.items()
        )
        yield Figure(
            name=file_name("speakers", scored.block.protocol, upstream),
            title=f"Accuracy per test speaker, {upstream}, {scored.block.protocol}",
            caption="UA over the classes a speaker has, all runs pooled, speakers in the order of "
            f"the first method{_cut_note(names)}.",
            alt=f"Bars of unweighted accuracy for {len(cut)} speakers. {said}",
            png=png,
        )


def _draw_accuracy(axes, entry: Estimate, place: float, published: float | None) -> str:  # type: ignore[no-untyped-def] # matplotlib's Axes is imported lazily
    colour, score = colour_of(entry.method.family), entry.scores["wa"]
    values = [100 * run.wa for run in entry.group.runs]
    axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.35, markersize=5)
    interval = entry.intervals.get("wa")
    right = 100 * score.mean
    if interval:
        axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=colour,
                  linewidth=2.2, alpha=0.75, solid_capstyle="round")
        right = 100 * interval.high
    axes.plot(100 * score.mean, place, marker_of(entry.method.family), color=colour, markersize=8,
              markeredgecolor="white", markeredgewidth=0.8)
    if published is not None:
        axes.plot(published, place, "D", color=GREY, markersize=6, markerfacecolor="none")
    right = max([right, *values, published or 0.0])
    axes.annotate(f"{100 * score.mean:.1f}", (right, place), xytext=(7, 0), va="center",
                  textcoords="offset points", fontsize=9.5)
    span = "" if interval is None else (
        f" (95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f})")
    return f"{entry.method.upstream_label}, {entry.method.label}: {100 * score.mean:.1f}{span}."


def _published(entry: Estimate, protocol: str) -> float | None:
    method = entry.method
    if protocol not in _PAPER_PROTOCOLS or method.erasure or method.shuffled or method.frozen:
        return None
    for line in paper.TABLE_1:
        if line.strategy == method.strategy and line.upstream == paper.upstream_name(
            method.upstream
        ):
            return line.si5_wa if protocol == "si5" else line.sd_wa
    return None


def _distinct(methods: Sequence[Method]) -> dict[Method, str]:
    """A colour per method: its family's where that is unique, else one of the cycle."""
    families = [method.family for method in methods]
    if len(set(families)) == len(families):
        return {method: colour_of(method.family) for method in methods}
    return {method: CYCLE[number % len(CYCLE)] for number, method in enumerate(methods)}


def _label_ends(axes, ends: list[tuple[float, float, str, str]], gap: float) -> None:  # type: ignore[no-untyped-def] # as above
    """Write each curve's name at its end, pushed apart by at least `gap`."""
    height = -np.inf
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        height = max(y, height + gap)
        axes.annotate(shorten(name, 36), (x, y), xytext=(1.015, height), va="center", fontsize=9,
                      textcoords=axes.get_yaxis_transform(), color=colour,
                      arrowprops={"arrowstyle": "-", "color": FAINT, "shrinkA": 0, "shrinkB": 2},
                      annotation_clip=False)


def _wrapped(label: str) -> str:
    head, comma, tail = shorten(label, 52).partition(", ")
    return f"{head}\n{tail}" if comma else head


def _cut_note(names: Sequence[str]) -> str:
    if len(names) <= _MOST_SPEAKERS:
        return ""
    return f" (the {_MOST_SPEAKERS} with the lowest of {len(names)})"
