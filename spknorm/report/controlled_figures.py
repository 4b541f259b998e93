"""The figures of the controlled benchmark: accuracy, regained share and leakage under confounding.

After `canvas.py` in the report. Curves come as plain numbers, so that the report knows nothing of
how they were made; every figure stands on one number per corpus (seed).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from spknorm.report.canvas import (
    COLOURS,
    GREY,
    INK,
    Figure,
    label_points,
    new_plot,
    spread,
    style,
    to_png,
)

_CHANCE = 0.25


@dataclass(frozen=True, kw_only=True)
class LinePoint:
    """One method at one rho.

    Attributes:
        rho: Confounding, 0-1.
        accuracy: Unseen speakers, mean over corpora, 0-1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        leakage: Accuracy of a fresh speaker probe, 0-1.
        regained: Part of what confounding costs that the method gives back; None if unknown.
    """

    rho: float
    accuracy: float
    low: float
    high: float
    leakage: float
    regained: float | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method.

    Attributes:
        method: none, SNP, ...
        label: As the reader sees it.
        is_control: A control (shuffled labels, gate alone): drawn dashed, on the same axes.
        points: By rho.
    """

    method: str
    label: str
    is_control: bool
    points: Sequence[LinePoint]


def draw_accuracy(lines: Sequence[Line], *, num_seeds: int) -> Figure:
    """Draw accuracy on unseen speakers against rho, with bands, controls dashed."""
    with style():
        plot, ((axes,),) = new_plot(7.2, 4.4)
        ends = []
        for line in lines:
            rho = [point.rho for point in line.points]
            accuracy = [100 * point.accuracy for point in line.points]
            low = [100 * point.low for point in line.points]
            high = [100 * point.high for point in line.points]
            colour, dash = _colour(line), "--" if line.is_control else "-"
            if len(rho) > 1:
                axes.fill_between(rho, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(rho, accuracy, dash, color=colour, marker="o", markersize=4)
            ends.append((rho[-1], accuracy[-1], line.label, colour))
        axes.axhline(100 * _CHANCE, color=GREY, linewidth=1, linestyle=":")
        axes.text(0.0, 100 * _CHANCE + 0.4, "chance", color=GREY, fontsize=8.5)
        heights = spread([height for _, height, _, _ in ends], 2.2)
        for (_, _, label, colour), height in zip(ends, heights, strict=True):
            axes.text(0.93, height, label, color=colour, fontsize=8.5, va="center")
        axes.set_xlim(-0.03, 1.2)
        axes.set_xticks(sorted({point.rho for line in lines for point in line.points}))
        axes.set_xlabel("Confounding of speaker and emotion, rho")
        axes.set_ylabel("Accuracy on unseen speakers, %")
        png = to_png(plot)
    return Figure(
        name="controlled_accuracy",
        title="Accuracy against confounding",
        caption=f"Mean over {num_seeds} corpora of five folds each; bands are 95 % intervals over "
        "corpora (Student's t). Dashed: controls. Four balanced classes.",
        alt="; ".join(
            f"{line.label}: "
            + ", ".join(
                f"{100 * point.accuracy:.1f} % at rho {point.rho:g}" for point in line.points
            )
            for line in lines
        ),
        png=png,
    )


def draw_regained(lines: Sequence[Line], *, num_seeds: int) -> Figure | None:
    """Draw which share of the loss from rho 0 to rho each method gives back; None if unknown."""
    rows = [
        (line, point)
        for line in lines
        for point in line.points
        if point.regained is not None and point.rho > 0 and line.method != "none"
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: (row[1].rho, row[1].regained or 0.0))
    with style():
        plot, ((axes,),) = new_plot(7.2, 1.2 + 0.28 * len(rows))
        for place, (line, point) in enumerate(rows):
            share = 100 * (point.regained or 0.0)
            hatch = "//" if line.is_control else None
            axes.barh(place, share, color=_colour(line), alpha=0.75, hatch=hatch, height=0.7)
            axes.text(
                max(share, 0.0) + 1, place, f"{share:.0f}", va="center", fontsize=8.5, color=INK
            )
        names = [f"{line.label}, rho {point.rho:g}" for line, point in rows]
        axes.set_yticks(range(len(rows)), names, fontsize=8.5)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_xlabel("Regained share of the loss from confounding, %")
        png = to_png(plot)
    return Figure(
        name="controlled_regained",
        title="Regained share",
        caption="(method - none) / (none at rho 0 - none), both on unseen speakers; means over "
        f"{num_seeds} corpora. 100 would undo the confounding, below 0 is harm. Hatched: controls.",
        alt="; ".join(
            f"{line.label} at rho {point.rho:g}: {100 * (point.regained or 0.0):.0f} %"
            for line, point in rows
        ),
        png=png,
    )


def draw_trade(lines: Sequence[Line], *, rho: float, num_seeds: int) -> Figure:
    """Draw accuracy on unseen speakers against leakage at one rho, controls on the same axes."""
    rows = [(line, point) for line in lines for point in line.points if abs(point.rho - rho) < 1e-9]
    with style():
        plot, ((axes,),) = new_plot(7.2, 4.4)
        for line, point in rows:
            colour = _colour(line)
            axes.errorbar(
                100 * point.leakage,
                100 * point.accuracy,
                yerr=[[100 * (point.accuracy - point.low)], [100 * (point.high - point.accuracy)]],
                color=colour,
                marker="o",
                markersize=7,
                markerfacecolor="white" if line.is_control else colour,
                elinewidth=1,
                capsize=2,
            )
        axes.set_xlabel("Speaker leakage: accuracy of a fresh probe for 80 speakers, %")
        axes.set_ylabel("Accuracy on unseen speakers, %")
        axes.margins(0.15)
        label_points(
            plot,
            axes,
            [
                (100 * point.leakage, 100 * point.accuracy, line.label, _colour(line))
                for line, point in rows
            ],
        )
        png = to_png(plot)
    return Figure(
        name="controlled_leakage",
        title=f"Accuracy against leakage at rho {rho:g}",
        caption=f"Means over {num_seeds} corpora; bars are 95 % intervals of the accuracy over "
        "corpora. Open circles: controls. Left and up is better.",
        alt="; ".join(
            f"{line.label}: leakage {100 * point.leakage:.1f} %, accuracy "
            f"{100 * point.accuracy:.1f} %"
            for line, point in rows
        ),
        png=png,
    )


def _colour(line: Line) -> str:
    return COLOURS.get(line.method, INK)
