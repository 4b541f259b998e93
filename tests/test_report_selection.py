"""How lambda was chosen, as the bench's selection.json tells it."""

import pytest
from fake_results import make_bench, write

from spknorm import report
from spknorm.errors import ConfigError
from spknorm.report.leakage import selection_table

CANDIDATE = {"dev_wa": 0.7, "dev_wa_std": 0.01, "leakage": 0.5, "leakage_std": 0.02, "num_runs": 2}
CHOICE = {
    "upstream": "u",
    "variant": "TAP",
    "speaker_lambda": 0.3,
    "doubt": "no lambda that was kept leaves less of the speaker than lambda 0",
    "candidates": [
        CANDIDATE | {"speaker_lambda": 0.0, "kept": True},
        CANDIDATE | {"speaker_lambda": 0.3, "kept": True, "leakage": 0.4},
        CANDIDATE | {"speaker_lambda": 1.0, "kept": False, "dev_wa": 0.6},
    ],
}
CONTENT = {"schema": "spknorm.selection/1", "asked": {}, "choices": [CHOICE]}


def test_the_choice_and_all_candidates_are_shown(tmp_path):
    write(tmp_path / "selection.json", CONTENT)
    table = selection_table(tmp_path)
    assert [row.cells[2:] for row in table.rows] == [
        ("0", "70.0 ± 1.0", "50.0 ± 2.0", "2", "control"),
        ("0.3", "70.0 ± 1.0", "40.0 ± 2.0", "2", "chosen"),
        ("1", "60.0 ± 1.0", "50.0 ± 2.0", "2", "loses too much"),
    ]
    assert table.notes[1] == f"u, TAP: {CHOICE['doubt']}."
    assert selection_table(tmp_path / "elsewhere") is None


def test_the_candidates_own_runs_are_in_no_table_of_scores(tmp_path, no_pictures):
    make_bench(tmp_path, num_folds=1, features=False, probes=False)
    write(tmp_path / "selection.json", CONTENT)
    candidate = make_bench(tmp_path / "selection", num_folds=1, features=False, summary=False)
    for path in candidate.rglob("result.json"):
        content = path.read_text()
        path.write_text(content.replace('"test": {', '"test": null, "was": {'))
    report.build(tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "3 of 3 runs complete" in text
    assert "## Candidates for λ" in text
    assert "fresh probes" not in text  # the audits of candidates are not the bench's


def test_a_malformed_selection_is_told_by_its_key(tmp_path):
    path = tmp_path / "selection.json"
    write(path, CONTENT | {"choices": [CHOICE | {"speaker_lambda": "high"}]})
    with pytest.raises(ConfigError) as caught:
        selection_table(tmp_path)
    key = "choices[0].speaker_lambda"
    assert str(caught.value) == f"{path}: `{key}` must be a number, but is `'high'` (str)."
