import json
from dataclasses import replace
from pathlib import Path

import pytest
from controlled_rows import rows_of, world_of

from spknorm import config, registry
from spknorm.controlled import outcome
from spknorm.controlled.plan import Plan, read_plan
from spknorm.controlled.verdicts import judge
from spknorm.errors import ConfigError, MissingError


def test_the_projects_own_plan_confirms_on_seeds_that_chose_nothing():
    plan = read_plan(Path(__file__).parent.parent / "configs/controlled.yaml")
    assert plan.seeds == tuple(range(100, 110))
    assert sorted(plan.rho) == [0.0, 0.4, 0.6, 0.8, 0.9]
    assert set(plan.methods) | set(plan.controls) == {
        "none",
        "gate",
        "SNP",
        "confusion",
        "erasure",
        "znorm",
    }
    task = config.parse(config.load_yaml(registry.config_path("emotion_spknorm")))
    method = task.downstream_expert.spknorm
    assert (method.strategy, method.goes_by_loss, method.preconditions) == ("TAP", True, False)
    assert plan.loss_tuning == replace(
        plan.fine_tuning,
        relative_to="loss",
        ascent_direction="raw",
        speaker_lambda=method.speaker_lambda,
    )
    quick = read_plan(Path(__file__).parent.parent / "configs/controlled.yaml", quick=True)
    assert sorted(quick.rho) == [0.0, 0.8, 0.9]
    assert len(quick.seeds) == 3
    assert quick.frozen == plan.frozen


def test_fine_tuned_models_may_have_seeds_of_their_own_and_shuffled_controls(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "kind: controlled\nrho: [0.9]\nnum_seeds: 2\ntuned_first_seed: 110\n"
        "tuned: [none, TAP]\ntuned_shuffled: [TAP]\n"
    )
    plan = read_plan(path)
    assert [(part.kind, part.seed) for part in plan.parts] == [
        ("frozen", 100), ("frozen", 101), ("tuned", 110), ("tuned", 111)
    ]  # fmt: skip
    assert plan.variants_of(plan.parts[-1]) == [
        ("start", "none", "true"), ("fine-tuned", "none", "true"), ("fine-tuned", "TAP", "true"),
        ("fine-tuned", "TAP", "shuffled"),
    ]  # fmt: skip
    quick = read_plan(path, quick=True)
    assert {part.seed for part in quick.parts if part.kind == "tuned"} == {110, 111, 112}
    assert quick.tuned_shuffled == ()


def test_a_baseline_may_be_tuned_where_nothing_else_is(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "kind: controlled\nrho: []\nnum_seeds: 2\ntuned_num_seeds: 3\ntuned_first_seed: 200\n"
        "baseline_rho: [0.0]\ntuned: [none, TAP, erasure]\ntuned_starts: [none, erasure]\n"
    )
    plan = read_plan(path)
    assert [(part.rho, part.seed) for part in plan.parts] == [
        (0.9, 200), (0.0, 200), (0.9, 201), (0.0, 201), (0.9, 202), (0.0, 202)
    ]  # fmt: skip
    assert [one.method for one in plan.variants_of(plan.parts[0])] == [
        "none", "erasure", "none", "TAP", "erasure"
    ]  # fmt: skip
    assert plan.variants_of(plan.parts[1]) == [
        ("start", "none", "true"),
        ("fine-tuned", "none", "true"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rho: [1.5]", "{path}: `rho` must be within 0 and 1, but is 1.5."),
        ("tuned_folds: 6", "{path}: `tuned_folds` must be within 0 and 5."),
        ("first_seed: -1", "`plan.yaml.first_seed` must be 0 or more, but is `-1` (int)."),
        ("num_seeds: 1", "{path}: `num_seeds` must be 2 or more: seeds are what is tested over."),
        (
            "methods: [SNIP]",
            "`plan.yaml.methods[0]` must be one of none, gate, SNP, confusion, erasure, znorm, "
            "but is `'SNIP'` (str).",
        ),
    ],
)
def test_mistakes_in_a_plan_are_told(tmp_path, text, message):
    path = tmp_path / "plan.yaml"
    path.write_text(f"kind: controlled\n{text}\n")
    with pytest.raises(ConfigError) as error:
        read_plan(path)
    assert str(error.value) == message.format(path=path)


def test_a_missing_plan_is_missing(tmp_path):
    with pytest.raises(MissingError):
        read_plan(tmp_path / "no.yaml")


def test_the_outcome_holds_every_number_that_it_shows(tmp_path):
    rows = rows_of(world_of())
    done = outcome.write_outcome(Plan(), rows, tmp_path)
    record = json.loads((tmp_path / "controlled.json").read_text())
    assert record["schema"] == "spknorm.controlled/1"
    assert len(record["cells"]) == len(world_of())
    assert [one["name"] for one in record["verdicts"]] == [one.name for one in judge(rows)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "controlled.json",
        "table.md",
        "report.html",
        "controlled_accuracy.png",
        "controlled_regained.png",
        "controlled_leakage.png",
    }
    assert all(path.stat().st_size > 500 for path in files)
    for text in (done, (tmp_path / "table.md").read_text()):
        assert "SNP, shuffled speakers" in text
        assert "confirmed" in text
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64") == 3


def test_equal_rows_give_equal_bytes(tmp_path):
    rows = rows_of(world_of())
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        outcome.write_outcome(Plan(), rows, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        contents.append([path.read_bytes() for path in files])
    assert len(contents[0]) == 6
    assert contents[0] == contents[1]
