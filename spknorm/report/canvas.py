"""How every figure looks, and how it becomes bytes that depend on nothing but the data.

Before the drawing files in the report. The palette is Okabe and Ito's, which the common kinds of
colour-blindness can tell apart; markers and direct labels repeat what colour says.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from spknorm.report.words import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

INK, GREY, FAINT = "#222222", "#777777", "#dddddd"
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
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "spknorm",
}


class Figure(NamedTuple):
    """A finished picture.

    Attributes:
        name: File name without `.png`.
        title: One line.
        caption: How to read it: metric, bands, what the numbers stand on.
        alt: What is seen, in words and numbers, for those who do not see it.
        png: The bytes.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes

    @property
    def kind(self) -> str:
        """What a page makes of it."""
        return "figure"

    @property
    def width(self) -> int:
        """In pixels."""
        return int.from_bytes(self.png[16:20], "big")

    @property
    def height(self) -> int:
        """In pixels."""
        return int.from_bytes(self.png[20:24], "big")


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style, whatever the user's own matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_plot(
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 1,
    shares: Sequence[float] | None = None,
) -> "tuple[Plot, list[list[Axes]]]":
    """Return an empty figure of so many inches, windowless, and its (rows, columns) axes.

    `shares` are the widths of the columns beside one another.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    plot = Plot(figsize=(width, height), layout=engine, dpi=_DPI)
    FigureCanvasAgg(plot)
    ratios = list(shares)[:columns] if shares else None
    axes = plot.subplots(rows, columns, squeeze=False, width_ratios=ratios)
    return plot, [list(row) for row in axes]


def to_png(plot: "Plot") -> bytes:
    """Return the figure's bytes: the same for the same data, without date or version."""
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


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

    def finish(self, text: str, *name: str, **values: Any) -> Figure:
        """Return the picture, its title, caption and alternative being a text of words.j2."""
        title, caption, alt = say(text, said=self.said, **values)
        return Figure(file_name(*name), title, caption, alt, to_png(self.plot))


@contextmanager
def drawing(width: float, height: float, **options: Any) -> Iterator[Drawing]:
    """Draw in the report's style; the arguments are those of `new_plot`."""
    with style():
        yield Drawing(*new_plot(width, height, **options))


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
        size, earlier = families.count(family), list(families[:place]).count(family)
        colours.append(
            _blend(colour_of(family), 1.0 if size == 1 else 0.4 + 0.6 * earlier / (size - 1))
        )
    return colours


def marker_of(family: str) -> str:
    """Return the marker of a family of methods."""
    return MARKERS.get(family, "P")


def file_name(*parts: str) -> str:
    """Return parts joined to a harmless file name."""
    text = "-".join(parts).lower()
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")[:80] or "figure"


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart to at least `gap` between neighbours, each as little as need be."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    clusters: list[tuple[float, list[int]]] = []  # centre, members from the bottom up
    for number in order:
        centre, members = places[number], [number]
        while clusters and centre - gap * (len(members) - 1) / 2 < (
            clusters[-1][0] + gap * (len(clusters[-1][1]) - 1) / 2 + gap
        ):
            other, before = clusters.pop()
            total = len(before) + len(members)
            centre = (other * len(before) + centre * len(members)) / total
            members = before + members
        clusters.append((centre, members))
    moved = [0.0] * len(places)
    for centre, members in clusters:
        for rank, number in enumerate(members):
            moved[number] = centre + gap * (rank - (len(members) - 1) / 2)
    return moved


def label_points(
    plot: "Plot",
    axes: "Axes",
    points: Sequence[tuple[float, float, str, str]],
    *,
    size: float = 8.5,
) -> None:
    """Write a name in its colour beside each (x, y, name, colour), where it covers least."""
    plot.draw_without_rendering()  # settles the axes, so that data can be placed in pixels
    dots = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    frame, height = axes.bbox, size * plot.dpi / 72 * 1.35
    taken: list[tuple[float, float, float, float]] = [
        (x - 11, y - 11, x + 11, y + 11) for x, y in dots
    ]
    for (x, y), (*_, name, colour) in zip(dots, points, strict=True):
        width = 0.56 * size * plot.dpi / 72 * len(name)
        best: tuple[float, tuple[float, float, float, float]] | None = None
        for rank, (across, up) in enumerate(_LABEL_PLACES):
            left = (
                x
                + across * 0.13 * plot.dpi
                - (width if across < 0 else width / 2 if across == 0 else 0)
            )
            bottom = y + up * height - height / 2
            box = (left, bottom, left + width, bottom + height)
            outside = max(frame.x0 - box[0], box[2] - frame.x1, frame.y0 - box[1], 0.0) * height
            cost = sum(_overlap(box, other) for other in taken) + outside + rank
            if best is None or cost < best[0]:
                best = cost, box
        assert best is not None
        taken.append(best[1])
        axes.annotate(
            name,
            (x, y),
            xycoords="figure pixels",
            xytext=best[1][:2],
            textcoords="figure pixels",
            fontsize=size,
            color=colour,
            va="bottom",
            annotation_clip=False,
        ).set_in_layout(False)


def shorten(text: str, length: int = 34) -> str:
    """Return a text cut to what a figure has room for."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _blend(colour: str, strength: float) -> str:
    """Mix a colour with white; strength 1 leaves it as it is."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * strength):02x}" for part in parts)


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(up, 0.0)
