import json
import sys

import pytest
from trained_folders import make_trained

from spknorm.bench import superb
from spknorm.errors import ConfigError, MissingError

FAKE_RUN = """
import pathlib, sys
arguments = sys.argv[1:]
folder = pathlib.Path(arguments[arguments.index("-p") + 1])
task = arguments[arguments.index("-d") + 1]
with open({calls!r}, "a") as file:
    file.write(" ".join(arguments) + "\\n")
if task == "fluent_commands":
    sys.exit("spknorm: Fluent Speech Commands is not there.")
folder.mkdir(exist_ok=True)
lines = ["dev at step 10: 0.4", "New best on dev at step 10: 0.4", "test at step 10: 0.35",
         "dev at step 20: 0.5", "New best on dev at step 20: 0.5", "test at step 20: 0.25",
         "dev at step 30: 0.45", "test at step 30: 0.9"]
(folder / "log.log").write_text("\\n".join(lines) + "\\n")
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Stands in for run_downstream: notes its arguments and leaves s3prl's log.log."""
    noted = tmp_path / "calls.txt"
    script = tmp_path / "fake_run.py"
    script.write_text(FAKE_RUN.format(calls=str(noted)))
    make = superb._command

    def command(*args):
        return [sys.executable, str(script), *make(*args)[3:]]

    monkeypatch.setattr(superb, "_command", command)
    return noted


@pytest.fixture
def experiment(tmp_path, tiny_hubert):
    folder = make_trained(tmp_path / "SNP", tiny_hubert, strategy="SNP")
    path = tmp_path / "superb.yaml"
    path.write_text(
        json.dumps(
            {
                "name": "small",
                "kind": "superb",
                "tasks": [
                    {"name": "ER", "task": "emotion", "variant": "fold1"},
                    {"name": "IC", "task": "fluent_commands", "config": {"optimizer": {"lr": 0.1}}},
                ],
                "upstreams": [
                    {"name": "raw", "upstream": "hubert_local", "ckpt": str(tiny_hubert)},
                    {"name": "SNP", "experiment": str(folder)},
                ],
            }
        )
    )
    return path


def test_a_cell_is_the_test_score_at_the_best_dev_step(experiment, calls, tmp_path):
    cells = superb.run(superb.read_plan(experiment), tmp_path / "out")
    scores = {(cell.task, cell.upstream): (cell.score, cell.step) for cell in cells}
    assert scores[("ER", "raw")] == scores[("ER", "SNP")] == (0.25, 20)
    assert scores[("IC", "raw")] == (None, None)
    lines = (tmp_path / "out" / "superb.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table == ["| Upstream | ER | IC |", "| --- | ---: | ---: |", "| raw | 25.0 | – |",  # noqa: RUF001
                     "| SNP | 25.0 | – |"]  # fmt: skip # noqa: RUF001
    assert lines[-3].startswith("IC on raw: Fluent Speech Commands is not there. (exit 1, ")
    content = json.loads((tmp_path / "out" / "superb.json").read_text())
    assert content["schema"] == "spknorm.bench.superb/1"
    assert content["cells"][0]["folder"] == "ER-raw"


def test_experiments_are_exported_and_every_upstream_is_frozen(experiment, calls, tmp_path):
    superb.run(superb.read_plan(experiment), tmp_path / "out")
    called = calls.read_text().splitlines()
    assert len(called) == 4
    exported = tmp_path / "out" / "upstreams" / "SNP" / "normalised.pt"
    assert exported.is_file()
    assert sum(f"-u spknorm_hubert_local -k {exported}" in line for line in called) == 2
    assert all("-s hidden_states" in line and " -f" not in line for line in called)
    assert sum("config.optimizer.lr=0.1" in line for line in called) == 2


def test_complete_cells_are_not_run_again(experiment, calls, tmp_path):
    superb.run(superb.read_plan(experiment), tmp_path / "out")
    superb.run(superb.read_plan(experiment), tmp_path / "out")
    tasks = [line.split(" -d ")[1].split()[0] for line in calls.read_text().splitlines()]
    assert (tasks.count("emotion"), tasks.count("fluent_commands")) == (2, 4)


def test_what_would_be_run_is_described(experiment):
    assert superb.describe(superb.read_plan(experiment)) == "4 runs: ER, IC on raw, SNP."


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"tasks": [{"name": "KS", "task": "speech_commands"}]},
            ConfigError,
            "s3prl's task speech_commands does not run: it needs the package catalyst (not "
            "declared by s3prl).",
        ),
        (
            {"upstreams": [{"name": "x"}]},
            ConfigError,
            "The row `x` needs either `upstream`, a name of s3prl's hub, "
            "or `experiment`, a folder.",
        ),
        (
            {"upstreams": [{"name": "x", "experiment": "/nowhere"}]},
            MissingError,
            "The row `x` is of the experiment /nowhere, which is not there. Run it first.",
        ),
        ({"tasks": [{"name": "ER"}]}, ConfigError, "`tasks.task` is missing."),
        ({"upstreams": [{"upstream": "fbank"}]}, ConfigError, "`upstreams.name` is missing."),
        ({"tasks": []}, ConfigError, "`tasks` must be a list of at least one."),
    ],
)
def test_a_mistake_in_the_file_is_told(changes, error, message, experiment):
    content = {**json.loads(experiment.read_text()), **changes}
    experiment.write_text(json.dumps(content))
    with pytest.raises(error) as caught:
        superb.read_plan(experiment)
    assert str(caught.value) == message


def test_two_rows_of_one_name_are_refused(experiment):
    content = json.loads(experiment.read_text())
    content["upstreams"][1]["name"] = "raw"
    experiment.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="the name `raw` occurs twice"):
        superb.read_plan(experiment)


def test_the_projects_own_tables_can_be_read(monkeypatch, tmp_path):
    from spknorm.bench.superb import plan
    from spknorm.registry import shared_configs

    monkeypatch.setattr(plan.Path, "is_dir", lambda self: True)
    for name in ("superb_table.yaml", "superb_table_demo.yaml"):
        found = plan.read_plan(shared_configs()[name])
        assert [row.name for row in found.upstreams] == ["raw", "fine-tuned alone", "SNP", "TAP"]


@pytest.mark.slow
def test_s3prls_emotion_task_fills_a_cell_of_the_demo(tmp_path, tiny_hubert):
    path = tmp_path / "demo.yaml"
    small = {
        "runner": {"total_steps": 20, "eval_step": 20, "gradient_accumulate_steps": 1},
        "downstream_expert": {"datarc": {"train_batch_size": 16, "num_workers": 0}},
    }
    content = {
        "kind": "superb",
        "corpora": "demo",
        "tasks": [{"name": "ER", "task": "emotion", "variant": "fold1", "config": small}],
        "upstreams": [{"name": "raw", "upstream": "hubert_local", "ckpt": str(tiny_hubert)}],
    }
    path.write_text(json.dumps(content))
    (cell,) = superb.run(superb.read_plan(path), tmp_path / "out")
    assert cell.error == ""
    assert 0 < cell.score < 1
    predictions = (cell.folder / "test_fold1_predict.txt").read_text().splitlines()
    assert len(predictions) == 224
