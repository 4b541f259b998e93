"""The figures of the controlled benchmark: accuracy, regained share and leakage under confounding.

After `verdicts.py`, whose means they show; every figure stands on one number per corpus (seed).
"""

from collections.abc import Sequence

import numpy as np

from spknorm.controlled.plan import Variant
from spknorm.controlled.verdicts import VariantMeans
from spknorm.report.canvas import COLOURS, GREY, INK, Figure, drawing, label_points, spread

_CHANCE = 0.25


def draw_accuracy(means: Sequence[VariantMeans], *, num_seeds: int) -> Figure:
    """Draw accuracy on unseen speakers against rho, with bands, controls dashed."""
    lines = [[one for one in means if one.variant == variant] for variant in _variants(means)]
    with drawing(7.2, 4.4) as picture:
        axes, ends = picture.axes, []
        for line in lines:
            rho = [point.rho for point in line]
            accuracy = np.array([100 * point.unseen for point in line])
            reach = [found for point in line if (found := point.reach) is not None]
            colour, dash = _colour(line[0]), "--" if line[0].is_control else "-"
            if len(reach) == len(rho) > 1:
                down, up = 100 * np.transpose(reach)
                around = (accuracy - down, accuracy + up)
                axes.fill_between(rho, *around, color=colour, alpha=0.13, linewidth=0)
            axes.plot(rho, accuracy, dash, color=colour, marker="o", markersize=4)
            ends.append((rho[-1], accuracy[-1], line[0].label, colour))
            values = (f"{100 * point.unseen:.1f} % at rho {point.rho:g}" for point in line)
            picture.said.append(f"{line[0].label}: {', '.join(values)}")
        axes.axhline(100 * _CHANCE, color=GREY, linewidth=1, linestyle=":")
        axes.text(0.0, 100 * _CHANCE + 0.4, "chance", color=GREY, fontsize=8.5)
        heights = spread([height for _, height, _, _ in ends], 2.2)
        for (_, _, label, colour), height in zip(ends, heights, strict=True):
            axes.text(0.93, height, label, color=colour, fontsize=8.5, va="center")
        axes.set(xlim=(-0.03, 1.2), xticks=sorted({point.rho for point in means}))
        axes.set_xlabel("Confounding of speaker and emotion, rho")
        axes.set_ylabel("Accuracy on unseen speakers, %")
        return picture.finish("controlled-accuracy", "controlled_accuracy", num_seeds=num_seeds)


def draw_regained(means: Sequence[VariantMeans], *, num_seeds: int) -> Figure | None:
    """Draw which share of the loss from rho 0 to rho each method gives back; None if unknown."""
    known = [one for one in means if one.rho > 0 and one.variant.method != "none"]
    if not (rows := [(one.regained, one) for one in known if one.regained is not None]):
        return None
    rows.sort(key=lambda row: (row[1].rho, row[0]))
    with drawing(7.2, 1.2 + 0.28 * len(rows)) as picture:
        axes = picture.axes
        for place, (regained, one) in enumerate(rows):
            share, at = 100 * regained, max(100 * regained, 0.0) + 1
            hatch = "//" if one.is_control else None
            axes.barh(place, share, color=_colour(one), alpha=0.75, hatch=hatch, height=0.7)
            axes.text(at, place, f"{share:.0f}", va="center", fontsize=8.5, color=INK)
            picture.said.append(f"{one.label} at rho {one.rho:g}: {share:.0f} %")
        names = [f"{one.label}, rho {one.rho:g}" for _, one in rows]
        axes.set_yticks(range(len(rows)), names, fontsize=8.5)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_xlabel("Regained share of the loss from confounding, %")
        return picture.finish("controlled-regained", "controlled_regained", num_seeds=num_seeds)


def draw_trade(means: Sequence[VariantMeans], *, rho: float, num_seeds: int) -> Figure:
    """Draw accuracy on unseen speakers against leakage at one rho, controls on the same axes."""
    variants = _variants(means)
    rows = [one for one in means if abs(one.rho - rho) < 1e-9]
    rows.sort(key=lambda one: variants.index(one.variant))
    with drawing(7.2, 4.4) as picture:
        axes, places = picture.axes, []
        for one in rows:
            x, y, colour = 100 * one.leakage, 100 * one.unseen, _colour(one)
            reach = one.reach and [[100 * end] for end in one.reach]
            inside = "white" if one.is_control else colour
            axes.errorbar(x, y, yerr=reach, color=colour, marker="o", markersize=7,
                          markerfacecolor=inside, elinewidth=1, capsize=2)  # fmt: skip
            places.append((x, y, one.label, colour))
            picture.said.append(f"{one.label}: leakage {x:.1f} %, accuracy {y:.1f} %")
        axes.set_xlabel("Speaker leakage: accuracy of a fresh probe for 80 speakers, %")
        axes.set_ylabel("Accuracy on unseen speakers, %")
        axes.margins(0.15)
        label_points(picture, places)
        about = {"num_seeds": num_seeds, "rho": rho}
        return picture.finish("controlled-leakage", "controlled_leakage", **about)


def _variants(means: Sequence[VariantMeans]) -> list[Variant]:
    return [*dict.fromkeys(one.variant for one in means)]


def _colour(one: VariantMeans) -> str:
    return COLOURS.get(one.variant.method, INK)
