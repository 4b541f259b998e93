"""docs/messages.md as benchmarks/messages.py reads it: all is typed, and differences are seen."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from typed.inputs import MAKERS  # noqa: E402
from typed.page import Entry, entries  # noqa: E402

PAGE = ROOT / "docs" / "messages.md"


def test_every_answer_of_the_page_has_commands_that_name_inputs():
    found = entries(PAGE)
    assert len(found) > 100
    assert {one.status for one in found} == {0, 1, 2, 3, 4, 5, 141, 143}
    typed = " ".join(one.typed() for one in found)
    assert [name for name in MAKERS if name not in typed] == ["corpora"]  # which all are given
    assert not [one for one in found if " ... " in one.typed()]


def test_an_answer_without_a_command_and_a_command_without_an_answer_are_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("    [2] Nobody asked.\n")
    with pytest.raises(ValueError, match=r"no command was typed for `Nobody asked\.`"):
        entries(page)
    page.write_text("Text\n\n    spknorm bench\n\nText\n")
    with pytest.raises(ValueError, match="`spknorm bench` has no answer"):
        entries(page)


def test_commands_share_an_answer_and_go_over_lines(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "    a -o x=1,,\\\n        y=2\n    ... -a\n    [2] No\n        more.\n    b\n    [0] c\n"
    )
    one, two, three = entries(page)
    assert one.command == "a -o x=1,,y=2"
    assert two.typed().endswith(" -u spknorm_demo_hubert -p runs/2 -a")
    assert (one.answer, two.answer, three.answer) == (*["No\n    more."] * 2, "c")


@pytest.mark.parametrize(
    ("answer", "text", "lacks"),
    [
        ("spknorm: none of 3", "warning\nspknorm:  none\nof 3\n", None),
        ("none of 3", "none of 4", "none of 3"),
        ("first ... second", "second first", "second"),
        ("digest 7593060abb65", "digest 823e9efc5c12", None),
        ("digest 7593060abb65", "digest gone", "digest 7593060abb65"),
        ("a0.wav,0.0,0.3,neu,0.336340671", "a0.wav,0.0,0.3,neu,0.125", None),
        (
            "a0.wav,0.0,0.3,neu,0.336340671",
            "a0.wav,0.0,0.3,hap,0.125",
            "a0.wav,0.0,0.3,neu,0.336340671",
        ),
    ],
)
def test_an_answer_is_compared_piece_by_piece_in_order(answer, text, lacks):
    assert Entry(number=1, command="a", status=0, answer=answer).lacks(text) == lacks
