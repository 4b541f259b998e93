"""The figures of accuracy: per method, few labels, confusions, speakers.

After `scores.py` and `canvas.py` in the report; `pictures.py` draws training, leakage and features.
Every function returns None where there is nothing to draw.
"""

from typing import TYPE_CHECKING

from spknorm.report import paper
from spknorm.report.canvas import (
    GREY,
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
from spknorm.report.estimates import Estimate
from spknorm.report.scores import Scored, corpora_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAR_CHANCE = 15  # points; further away it would squeeze everything else
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
        lowest = min(100 * run.wa for run in scored.runs)
        near = abs(lowest - 100 * scored.chance.wa) < _NEAR_CHANCE
        if near:
            axes.axvline(100 * scored.chance.wa, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
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
        + (" Dashed: chance," if near else " Chance (not drawn):")
        + f" {100 * scored.chance.wa:.1f} (always {scored.chance.majority}).",
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
        colours = dict(zip(drawn, colours_of([method.family for method in drawn]), strict=True))
        said = []
        for method, found in drawn.items():
            mean, std, colour = 100 * found.mean, 100 * found.std, colours[method]
            axes.fill_between(
                found.num_samples, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0
            )
            axes.plot(
                found.num_samples,
                mean,
                color=colour,
                marker=marker_of(method.family),
                markersize=5,
                linewidth=1.8,
            )
            name = (
                method.label
                if len({m.upstream for m in drawn}) == 1
                else (f"{method.upstream_label}: {method.label}")
            )
            ends.append((found.num_samples[-1], float(mean[-1]), name, colour))
            area = ""
            if found.paper_auc is not None and found.normalised_auc is not None:
                paper_area, own = 100 * found.paper_auc, 100 * found.normalised_auc
                area = f" (AUC {paper_area:.1f}, normalised {own:.1f})"
            said.append(
                f"{name}: {mean[0]:.1f} at {found.num_samples[0]}, {mean[-1]:.1f} at "
                f"{found.num_samples[-1]}{area}."
            )
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


def _draw_accuracy(axes: "Axes", entry: Estimate, place: float, published: float | None) -> str:
    colour, score = colour_of(entry.method.family), entry.scores["wa"]
    values = [100 * run.wa for run in entry.group.runs]
    axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.35, markersize=5)
    interval = entry.intervals.get("wa")
    right = 100 * score.mean
    if interval:
        axes.plot(
            [100 * interval.low, 100 * interval.high],
            [place, place],
            color=colour,
            linewidth=2.2,
            alpha=0.75,
            solid_capstyle="round",
        )
        right = 100 * interval.high
    axes.plot(
        100 * score.mean,
        place,
        marker_of(entry.method.family),
        color=colour,
        markersize=8,
        markeredgecolor="white",
        markeredgewidth=0.8,
    )
    if published is not None:
        axes.plot(published, place, "D", color=GREY, markersize=6, markerfacecolor="none")
    right = max([right, *values, published or 0.0])
    axes.annotate(
        f"{100 * score.mean:.1f}",
        (right, place),
        xytext=(7, 0),
        va="center",
        textcoords="offset points",
        fontsize=9.5,
    )
    span = (
        ""
        if interval is None
        else (f" (95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f})")
    )
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


def _label_ends(axes: "Axes", ends: list[tuple[float, float, str, str]]) -> None:
    """Write each curve's name at its end, pushed apart where they would collide."""
    low, high = axes.get_ylim()
    heights = spread([end[1] for end in ends], (high - low) / 20)
    for (x, y, name, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            shorten(name, 36),
            (x, y),
            xytext=(1.02, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            color=colour,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "alpha": 0.35,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )
