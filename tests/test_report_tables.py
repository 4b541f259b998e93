"""Tables as text: numbers as they are written, and nothing that a text could smuggle in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spknorm.report import paper
from spknorm.report.canvas import colours_of, file_name, spread
from spknorm.report.tables import (
    Table,
    TableRow,
    escape_latex,
    escape_markdown,
    p_value,
    percent,
    signed_points,
    to_csv,
    to_latex,
    to_markdown,
    to_text,
)
from spknorm.report.words import table
from spknorm.statistics.curves import normalised_auc, paper_auc
from spknorm.statistics.metrics import METRICS

TABLE = Table(
    name="demo",
    title="Scores & more",
    notes=("WA in percent.",),
    columns=("Method", "WA"),
    rows=(TableRow(cells=("none", "71.9")), TableRow(cells=("paper_TAP", "74.2"), kind="paper")),
)


def test_the_area_under_the_papers_digitised_curves_is_its_auc():
    areas = {name: paper_auc(paper.NUM_POINTS, values) for name, values in paper.CURVES.items()}
    assert areas["none"] == pytest.approx(63.9, abs=0.1)
    assert areas["SNP"] == pytest.approx(64.2, abs=0.1)
    assert areas["TAP"] == pytest.approx(64.9, abs=0.1)
    for values in paper.CURVES.values():
        normalised = normalised_auc(paper.NUM_POINTS, values)
        assert normalised == pytest.approx(paper_auc(paper.NUM_POINTS, values) / 0.95)


def test_numbers_are_written_in_percent_and_points():
    assert percent(0.7418) == "74.2"
    assert percent(None) == "–"  # noqa: RUF001
    assert signed_points(0.0213) == "+2.1"
    assert signed_points(-0.0213) == "−2.1"  # noqa: RUF001
    assert signed_points(-0.0001) == "0.0"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "< .001"), (0.00099, "< .001"), (0.0042, ".004"), (0.049, ".049"), (0.0501, ".050"),
     (0.0951, ".10"), (0.42, ".42"), (0.9949, ".99"), (0.996, "1.0"), (1.0, "1.0")],
)  # fmt: skip
def test_p_values_have_two_digits_and_never_round_to_zero_or_across_one(value, text):
    assert p_value(value) == text


def test_markdown_is_a_table_with_the_papers_rows_in_italics():
    assert to_markdown([TABLE], title="Report", remarks=["2 of 3 runs."]) == (
        "# Report\n\n2 of 3 runs.\n\n## Scores &amp; more\n\n"
        "| Method | WA |\n| --- | ---: |\n| none | 71.9 |\n| *paper\\_TAP* | *74.2* |\n\n"
        "WA in percent.\n"
    )


def test_a_table_has_its_title_headings_and_notes_of_its_text():
    rows = [TableRow(cells=("u", "m", "a", "1", "2"))]
    found = table("cross", rows, "ua", columns=["on b | c", "on d"],
                  more=["", "Last."], title="Protocol cross", metric=METRICS["ua"],
                  classes=["neu", "sad"])  # fmt: skip
    assert (found.name, found.title) == ("cross-ua", "Protocol cross: UA")
    assert found.columns == ("Upstream", "Method", "Trained on", "on b | c", "on d")
    assert (found.num_heads, found.notes[-1]) == (3, "Last.")
    assert all(found.notes)


def test_a_terminal_gets_aligned_columns_with_the_notes_below():
    assert to_text(TABLE) == (
        "Scores & more\nMethod       WA\nnone       71.9\npaper_TAP  74.2\nWA in percent."
    )
    assert to_text(TABLE, title=False).startswith("Method       WA\n")


def test_latex_is_a_booktabs_table_with_the_papers_rows_in_grey():
    text = to_latex([TABLE], title="Report")
    assert r"\toprule" in text
    assert r"\bottomrule" in text
    assert r"\caption{Scores \& more. WA in percent.}" in text
    assert r"none & 71.9 \\" in text
    assert r"\textcolor{gray}{paper\_TAP} & \textcolor{gray}{74.2} \\" in text


def test_csv_has_full_precision_and_no_formulas():
    text = to_csv([{"method": "=1+1", "wa": 1 / 3, "n": 5, "p": None}])
    assert text == f"method,wa,n,p\n'=1+1,{1 / 3!r},5,\n"
    assert to_csv([]) == ""


@given(st.text(max_size=40))
def test_no_text_becomes_markup(text):
    markdown = escape_markdown(text)
    assert "<" not in markdown
    assert "\n" not in markdown
    bare = markdown.replace("\\\\", "").replace("\\|", "").replace("\\`", "").replace("\\[", "")
    assert not set("|`[") & set(bare)
    latex = escape_latex(text)
    for command in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        latex = latex.replace(command, "")
    for plain in "&%$#_{}":
        latex = latex.replace("\\" + plain, "")
    assert not set("\\&%#_{}~^") & set(latex.replace(r"$\pm$", "").replace(r"$\lambda$", "")
        .replace(r"$\Delta$", "").replace(r"$\geq$", "").replace(r"$\times$", ""))  # fmt: skip
    cell = to_csv([{"a": text}]).removeprefix("a\n").lstrip('"')
    assert cell[:1] not in ("=", "+", "-", "@", "\t")


@given(st.lists(st.text(max_size=120), min_size=1, max_size=3))
def test_file_names_are_harmless(parts):
    name = file_name(*parts)
    assert 0 < len(name) <= 80
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


@given(st.lists(st.floats(-100, 100), max_size=8), st.floats(0.1, 10))
def test_labels_are_moved_apart_in_their_order(places, gap):
    moved = spread(places, gap)
    order = sorted(range(len(places)), key=lambda number: places[number])
    for below, above in itertools.pairwise(order):
        assert moved[above] - moved[below] >= gap - 1e-6


def test_labels_that_do_not_collide_stay():
    assert spread([5.0, 1.0, 3.0], 1.0) == [5.0, 1.0, 3.0]


def test_several_methods_of_a_family_go_from_light_to_full():
    assert colours_of(["none", "TAP", "TAP"]) == ["#4d4d4d", "#eebf99", "#d55e00"]
