"""The report of 117 made-up runs says what it said when record_reports.py was last run."""

import csv
import io

import pytest
import record_reports

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return record_reports.outputs(tmp_path_factory.mktemp("bench"))


def test_numbers_are_those_recorded(outputs):
    before = (record_reports.RECORDED / "table.csv").read_text()
    old, new = (list(csv.reader(io.StringIO(text))) for text in (before, outputs["table.csv"]))
    assert old[0] == new[0]
    assert len(old) == len(new) > 40
    for was, now in zip(old, new, strict=True):
        for a, b in zip(was, now, strict=True):
            try:
                assert float(b) == pytest.approx(float(a), rel=1e-9, abs=1e-12)
            except ValueError:
                assert b == a


@pytest.mark.parametrize(
    "name", ["table.md", "table.tex", "pictures.txt", "bench.txt", "audit.txt", "superb.txt",
             "controlled.txt"],
)  # fmt: skip
def test_texts_are_those_recorded(outputs, name):
    assert outputs[name] == (record_reports.RECORDED / name).read_text()
