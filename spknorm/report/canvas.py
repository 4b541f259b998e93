"""How every figure looks, and how it becomes bytes that depend on nothing but the data.

Before `figures.py` and `pictures.py` in the report. The palette is Okabe and Ito's, which the common
kinds of colour-blindness can tell apart; markers and direct labels repeat what colour says.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

INK, GREY, FAINT = "#222222", "#777777", "#dddddd"
COLOURS = {
    "none": "#4d4d4d",
    "SNP": "#0072b2",
    "TAP": "#d55e00",
    "leace": "#009e73",
    "znorm": "#cc79a7",
    "shuffled": "#b8860b",
    "raw": "#9a9a9a",
}
CYCLE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#4d4d4d",
    "#b8860b",
    "#882255",
    "#117733",
)
MARKERS = {"none": "s", "SNP": "o", "TAP": "^", "leace": "D", "znorm": "v", "shuffled": "X"}
_DPI = 160
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


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style, whatever the user's own matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_plot(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **options: object
) -> "tuple[Plot, list[list[Axes]]]":
    """Return an empty figure of so many inches, without any window, and its (rows, columns) axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(plot)
    axes = plot.subplots(rows, columns, squeeze=False, **options)  # type: ignore[arg-type] # passed on
    return plot, [list(row) for row in axes]


def to_png(plot: "Plot") -> bytes:
    """Return the figure's bytes: the same for the same data, without date or version."""
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def colour_of(family: str) -> str:
    """Return the colour of a family of methods; an unknown one gets a fixed colour of its own."""
    return COLOURS.get(family) or CYCLE[sum(map(ord, family)) % len(CYCLE)]


def marker_of(family: str) -> str:
    """Return the marker of a family of methods."""
    return MARKERS.get(family, "P")


def file_name(*parts: str) -> str:
    """Return parts joined to a harmless file name."""
    text = "-".join(parts).lower()
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")[:80] or "figure"


def shorten(text: str, length: int = 34) -> str:
    """Return a text cut to what a figure has room for."""
    return text if len(text) <= length else text[: length - 1] + "…"
