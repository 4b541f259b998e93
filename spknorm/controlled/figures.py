"""The figures of the controlled benchmark: accuracy, regained share and leakage under confounding.

After `verdicts.py`, whose means they show; every figure stands on one number per corpus (seed).
"""

from collections.abc import Sequence

from spknorm.controlled.plan import Variant
from spknorm.controlled.verdicts import VariantMeans
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


def draw_accuracy(means: Sequence[VariantMeans], *, num_seeds: int) -> Figure:
    """Draw accuracy on unseen speakers against rho, with bands, controls dashed."""
    lines = [[one for one in means if one.variant == variant] for variant in _variants(means)]
    with style():
        plot, ((axes,),) = new_plot(7.2, 4.4)
        ends = []
        for line in lines:
            rho = [point.rho for point in line]
            accuracy = [100 * point.unseen for point in line]
            reach = [found for point in line if (found := point.reach) is not None]
            colour, dash = _colour(line[0]), "--" if line[0].is_control else "-"
            if len(reach) == len(rho) > 1:
                low = [at - 100 * down for at, (down, _) in zip(accuracy, reach, strict=True)]
                high = [at + 100 * up for at, (_, up) in zip(accuracy, reach, strict=True)]
                axes.fill_between(rho, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(rho, accuracy, dash, color=colour, marker="o", markersize=4)
            ends.append((rho[-1], accuracy[-1], line[0].label, colour))
        axes.axhline(100 * _CHANCE, color=GREY, linewidth=1, linestyle=":")
        axes.text(0.0, 100 * _CHANCE + 0.4, "chance", color=GREY, fontsize=8.5)
        heights = spread([height for _, height, _, _ in ends], 2.2)
        for (_, _, label, colour), height in zip(ends, heights, strict=True):
            axes.text(0.93, height, label, color=colour, fontsize=8.5, va="center")
        axes.set_xlim(-0.03, 1.2)
        axes.set_xticks(sorted({point.rho for point in means}))
        axes.set_xlabel("Confounding of speaker and emotion, rho")
        axes.set_ylabel("Accuracy on unseen speakers, %")
        png = to_png(plot)
    return Figure(
        name="controlled_accuracy",
        title="Accuracy against confounding",
        caption=f"Mean over {num_seeds} corpora of five folds each; bands are 95 % intervals over "
        "corpora (Student's t). Dashed: controls. Four balanced classes.",
        alt="; ".join(
            f"{line[0].label}: "
            + ", ".join(f"{100 * point.unseen:.1f} % at rho {point.rho:g}" for point in line)
            for line in lines
        ),
        png=png,
    )


def draw_regained(means: Sequence[VariantMeans], *, num_seeds: int) -> Figure | None:
    """Draw which share of the loss from rho 0 to rho each method gives back; None if unknown."""
    known = [
        (one.regained, one)
        for one in means
        if one.regained is not None and one.rho > 0 and one.variant.method != "none"
    ]
    if not known:
        return None
    rows = sorted(known, key=lambda row: (row[1].rho, row[0]))
    with style():
        plot, ((axes,),) = new_plot(7.2, 1.2 + 0.28 * len(rows))
        for place, (regained, one) in enumerate(rows):
            share = 100 * regained
            hatch = "//" if one.is_control else None
            axes.barh(place, share, color=_colour(one), alpha=0.75, hatch=hatch, height=0.7)
            axes.text(
                max(share, 0.0) + 1, place, f"{share:.0f}", va="center", fontsize=8.5, color=INK
            )
        names = [f"{one.label}, rho {one.rho:g}" for _, one in rows]
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
            f"{one.label} at rho {one.rho:g}: {100 * regained:.0f} %" for regained, one in rows
        ),
        png=png,
    )


def draw_trade(means: Sequence[VariantMeans], *, rho: float, num_seeds: int) -> Figure:
    """Draw accuracy on unseen speakers against leakage at one rho, controls on the same axes."""
    variants = _variants(means)
    rows = [one for one in means if abs(one.rho - rho) < 1e-9]
    rows.sort(key=lambda one: variants.index(one.variant))
    with style():
        plot, ((axes,),) = new_plot(7.2, 4.4)
        for one in rows:
            axes.errorbar(
                100 * one.leakage,
                100 * one.unseen,
                yerr=None if one.reach is None else [[100 * end] for end in one.reach],
                color=_colour(one),
                marker="o",
                markersize=7,
                markerfacecolor="white" if one.is_control else _colour(one),
                elinewidth=1,
                capsize=2,
            )
        axes.set_xlabel("Speaker leakage: accuracy of a fresh probe for 80 speakers, %")
        axes.set_ylabel("Accuracy on unseen speakers, %")
        axes.margins(0.15)
        places = [(100 * one.leakage, 100 * one.unseen, one.label, _colour(one)) for one in rows]
        label_points(plot, axes, places)
        png = to_png(plot)
    return Figure(
        name="controlled_leakage",
        title=f"Accuracy against leakage at rho {rho:g}",
        caption=f"Means over {num_seeds} corpora; bars are 95 % intervals of the accuracy over "
        "corpora. Open circles: controls. Left and up is better.",
        alt="; ".join(
            f"{one.label}: leakage {100 * one.leakage:.1f} %, accuracy {100 * one.unseen:.1f} %"
            for one in rows
        ),
        png=png,
    )


def _variants(means: Sequence[VariantMeans]) -> list[Variant]:
    return [*dict.fromkeys(one.variant for one in means)]


def _colour(one: VariantMeans) -> str:
    return COLOURS.get(one.variant.method, INK)
