"""How every figure looks, and how it becomes bytes that depend on nothing but the data.

Before the drawing files in the report; report.mplstyle is its style. The palette is Okabe and
Ito's, which the common kinds of colour-blindness can tell apart; markers and direct labels repeat
what colour says.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spknorm.report.words import say, sentence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

INK, GREY = "#222222", "#777777"
COLOURS = {
    "none": "#4d4d4d", "SNP": "#0072b2", "TAP": "#d55e00", "leace": "#009e73",
    "erasure": "#009e73", "znorm": "#cc79a7", "shuffled": "#b8860b", "raw": "#9a9a9a",
    "confusion": "#e69f00", "gate": "#56b4e9",
}  # fmt: skip
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d", "#b8860b",
         "#882255", "#117733")  # fmt: skip
MARKERS = {"none": "s", "SNP": "o", "TAP": "^", "leace": "D", "znorm": "v", "shuffled": "X"}
_DPI = 160
_SIDES = tuple((across, up) for up in (0, 0.7, -0.7) for across in (1, -1))
_CORNERS = tuple((across, up) for up in (1.6, -1.6) for across in (1, -1))
_LABEL_PLACES = (*_SIDES, (0, 1.2), (0, -1.2), *_CORNERS)


class Figure(NamedTuple):
    """A finished picture, as PNG.

    Attributes:
        caption: How to read it: metric, bands, what the numbers stand on.
        alt: What is seen, in words and numbers, for those who do not see it.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")


@dataclass
class Drawing:
    """A picture in the making: `plot`, its axes in a `grid`, what is `said` of what it shows."""

    plot: "Plot"
    grid: "list[list[Axes]]"
    said: list[str] = field(default_factory=list)

    @property
    def axes(self) -> "Axes":
        """The first of the grid."""
        return self.grid[0][0]

    def say(self, text: str, **values: Any) -> None:
        """Say what is seen, a text of words.j2; `finish` hands it on."""
        self.said.append(sentence(text, **values))

    def finish(self, text: str, *name: str, **values: Any) -> Figure:
        """Return the picture, its title, caption and alternative being a text of words.j2.

        Its bytes are the same for the same data, without date or version.
        """
        title, caption, alt = say(text, said=self.said, **values)
        png = io.BytesIO()
        self.plot.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
        return Figure(file_name(*name), title, caption, alt, png.getvalue())


@contextmanager
def drawing(
    width: float, height: float, *, rows: int = 1, columns: int = 1, shares: Sequence[float] = ()
) -> Iterator[Drawing]:
    """Draw in the report's style, whatever the user's own matplotlibrc says, and windowless.

    Width and height are in inches; `shares` are the columns' widths, relative to one another.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    look = resources.files("spknorm.report").joinpath("report.mplstyle")
    with resources.as_file(look) as path, style.context(path, after_reset=True):
        engine = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
        plot = Plot(figsize=(width, height), layout=engine, dpi=_DPI)
        FigureCanvasAgg(plot)
        axes = plot.subplots(rows, columns, squeeze=False, width_ratios=shares[:columns] or None)
        yield Drawing(plot, [list(row) for row in axes])


def write_beside(
    axes: "Axes", text: str, at: tuple[float, float], offset: tuple[float, float], **look: Any
) -> None:
    """Write a small text so many points beside a place."""
    look.setdefault("fontsize", 8.5)
    axes.annotate(text, at, xytext=offset, textcoords="offset points", **look)


def draw_limit(axes: "Axes", value: float, name: str = "", offset: Any = None, **look: Any) -> None:
    """Draw a dashed line across at what chance or the raw upstream has, and its name beside it."""
    axes.axvline(value, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
    if name:
        write_beside(axes, name, (value, look.pop("at", 0)), offset, color=GREY, **look)


def colour_of(family: str) -> str:
    """Return the colour of a family of methods; an unknown one gets a fixed colour of its own."""
    return COLOURS.get(family) or CYCLE[sum(map(ord, family)) % len(CYCLE)]


def colours_of(families: Sequence[str]) -> list[str]:
    """Return a colour for each method; several of one family go from light to their full colour."""
    colours = []
    for place, family in enumerate(families):
        earlier, last = [*families[:place]].count(family), [*families].count(family) - 1
        strength = 0.4 + 0.6 * earlier / last if last else 1.0
        parts = bytes.fromhex(colour_of(family)[1:])
        colours.append("#" + bytes(round(255 + (part - 255) * strength) for part in parts).hex())
    return colours


def file_name(*parts: str) -> str:
    """Return parts joined to a harmless file name."""
    text = "-".join(parts).lower()
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")[:80] or "figure"


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart to at least `gap` between neighbours, each as little as need be."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(places, kind="stable")
    if not len(order):
        return []
    steps = gap * np.arange(len(order))
    moved = np.empty(len(order))
    moved[order] = isotonic_regression(np.asarray(places)[order] - steps).x + steps
    return [float(place) for place in moved]


def label_points(picture: Drawing, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a name in its colour beside each (x, y, name, colour), where it covers least."""
    from matplotlib.transforms import Bbox

    plot, axes, size = picture.plot, picture.axes, 8.5
    plot.draw_without_rendering()  # settles the axes, so that data can be placed in pixels
    dots = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    frame, aside, height = axes.bbox, 0.13 * plot.dpi, size * plot.dpi / 72 * 1.35
    taken = [Bbox.from_extents(x - 11, y - 11, x + 11, y + 11) for x, y in dots]
    for (x, y), (*_, name, colour) in zip(dots, points, strict=True):
        width = 0.56 * size * plot.dpi / 72 * len(name)
        lefts = {1: x + aside, 0: x - width / 2, -1: x - aside - width}
        costs, boxes = [], []
        for rank, (across, up) in enumerate(_LABEL_PLACES):
            box = Bbox.from_bounds(lefts[across], y + up * height - height / 2, width, height)
            outside = max(frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0, 0.0)
            shared = (Bbox.intersection(box, other) for other in taken)
            covered = sum(one.width * one.height for one in shared if one is not None)
            costs.append(covered + outside * height + rank)
            boxes.append(box)
        taken.append(boxes[int(np.argmin(costs))])
        corner = (float(taken[-1].x0), float(taken[-1].y0))
        written = axes.annotate(name, (x, y), corner, "figure pixels", textcoords="figure pixels",
                                fontsize=size, color=colour, va="bottom",
                                annotation_clip=False)  # fmt: skip
        written.set_in_layout(False)


def shorten(text: str, length: int = 34) -> str:
    """Return a text cut to what a figure has room for."""
    return text if len(text) <= length else text[: length - 1] + "…"
