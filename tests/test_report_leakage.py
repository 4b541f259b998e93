"""What the probes found, beside the accuracies."""

import json

import pytest
from fake_results import make_bench, write

from spknorm import runs
from spknorm.report.leakage import audit_tables, frontiers, probed_rows
from spknorm.report.scores import score_blocks
from spknorm.report.tables import NOTHING


def test_leakage_stands_beside_the_accuracy_of_all_runs_of_a_method(tmp_path):
    make_bench(tmp_path, erasures=("leace",), num_folds=2, features=False)
    for path in sorted(tmp_path.rglob("probe.json"))[1:]:
        if "fold2" in path.parent.name:
            path.unlink()  # audited on one fold alone
    found = runs.read(tmp_path)
    [frontier] = frontiers(found, score_blocks(found))
    assert [point.method.label for point in frontier.points] == [
        "none",
        "LEACE erasure",
        "SNP",
        "TAP",
    ]
    assert {(point.leakage.n, point.wa.n) for point in frontier.points} == {(1, 2)}
    assert frontier.axis == "Linear probe, last layer, speaker corpus"
    assert frontier.protocol == "si5"
    assert frontier.raw == pytest.approx(0.607, abs=0.02)
    assert frontier.chance == 0.0008


def test_a_frozen_upstream_without_adversary_leaks_what_the_raw_one_does(tmp_path):
    make_bench(tmp_path, erasures=("leace",), num_folds=1, features=False)
    for path in tmp_path.rglob("result.json"):
        write(path, json.loads(path.read_text()) | {"frozen": True})
        probe = path.with_name("probe.json")
        content = json.loads(probe.read_text())
        if "-none-" in path.parent.name or "-leace-" in path.parent.name:
            content["rows"] = [row for row in content["rows"] if row["stage"] == "raw"]
            write(probe, content)
    found = runs.read(tmp_path)
    [frontier] = frontiers(found, score_blocks(found))
    assert [point.method.label for point in frontier.points] == [
        "none, frozen",  # and nothing of the erasure, which was not probed
        "SNP, frozen",
        "TAP, frozen",
    ]
    assert frontier.points[0].leakage.mean == pytest.approx(0.607, abs=0.02)


def test_an_independent_verifier_has_a_column_and_is_no_accuracy(tmp_path):
    make_bench(tmp_path, num_folds=1, features=False)
    for path in tmp_path.rglob("probe.json"):
        content = json.loads(path.read_text())
        eers = [row for row in content["rows"] if row["probe"] == "eer" and row["layer"] == "last"]
        rows = [row | {"probe": "verifier", "accuracy": 0.123} for row in eers]
        raw = [row for row in rows if row["stage"] == "raw"]
        content["rows"] += rows + [row | {"layer": "recording"} for row in raw]
        write(path, content)
    found = runs.read(tmp_path)
    blocks = score_blocks(found)
    table = audit_tables(probed_rows(found, blocks))[0]
    assert table.columns[-2:] == ("EER", "EER, d-vectors")
    recordings = [row.cells for row in table.rows if row.cells[2] == "the recordings"]
    assert recordings and all(cells[3:-1] == (NOTHING,) * 4 for cells in recordings)
    assert all(cells[-1].startswith("12.3") for cells in recordings)
    assert "by d-vectors: of an independent verifier" in " ".join(table.notes)
    assert {one.axis for one in frontiers(found, blocks)} == {
        "Linear probe, last layer, speaker corpus"
    }
