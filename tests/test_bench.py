"""The grid of runs: expansion, completeness, resuming after any kill. Cells are small stubs."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_stubs import EXPERIMENT, result_of, starts, stub_command

from spknorm import bench
from spknorm.bench.cells import literal
from spknorm.bench.worker import is_running
from spknorm.cli.overrides import apply_to_config, parse_overrides
from spknorm.errors import ConfigError, MissingError


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT)
    return path


def write(tmp_path, text):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    return path


def test_an_experiment_is_every_variant_on_every_fold_and_seed(experiment):
    assert [cell.name for cell in bench.expand(experiment)] == [
        "spknorm_demo_hubert-none-si5-fold1-seed1337",
        "spknorm_demo_hubert-none-si5-fold2-seed1337",
        "spknorm_demo_hubert-SNP-frozen-si5-fold1-seed1337",
        "spknorm_demo_hubert-SNP-frozen-si5-fold2-seed1337",
    ]


def test_lambdas_multiply_adversarial_variants_alone(tmp_path):
    path = write(
        tmp_path,
        "upstreams: [hubert_base]\n"
        "variants: [{strategy: none}, {strategy: TAP}, {strategy: SNP, speaker_lambda: 0.5}]\n"
        "lambdas: [1e-4, 0.01]\nprotocols: [sd]\nseeds: [0]",
    )
    cells = bench.expand(path)
    assert [cell.variant for cell in cells] == ["none", "TAP-lambda0.0001", "TAP-lambda0.01", "SNP"]
    methods = [cell.changes["downstream_expert"]["spknorm"] for cell in cells]
    assert [one.get("speaker_lambda") for one in methods] == [None, 1e-4, 0.01, 0.5]


@pytest.mark.parametrize("word", ["off", "no", "false", "null", "none", "'none'"])
def test_a_variant_s_words_are_read_as_a_run_reads_them(word, tmp_path):
    path = write(
        tmp_path,
        f"upstreams: [a]\nvariants: [{{strategy: {word}, erasure: {word}, frozen: 'no'}}]\n"
        "lambdas: [1, 2]\nprotocols: [sd]",
    )
    [cell] = bench.expand(path)
    assert (cell.variant, cell.frozen) == ("none", False)
    method = cell.changes["downstream_expert"]["spknorm"]
    assert method == {"strategy": "none", "erasure": "none"}


def test_low_resource_has_all_points_and_draws_of_the_paper_by_default(tmp_path):
    path = write(
        tmp_path,
        "upstreams: [{name: hubert_local, ckpt: a.pt, label: mine}]\nvariants: [{strategy: TAP}]\n"
        "protocols: [{protocol: low_resource, folds: [fold1]}]",
    )
    cells = bench.expand(path)
    assert len(cells) == 11 * 5
    assert cells[0].name == "mine-TAP-low_resource-n50-draw0-fold1-seed1337"
    data = cells[-1].changes["downstream_expert"]["datarc"]
    assert (data["samples_per_label"], data["draw"]) == (1000, 4)
    assert " -k a.pt " in " ".join(cells[0].command(Path("x")))


def test_protocols_may_have_their_own_seeds(tmp_path):
    path = write(
        tmp_path,
        "upstreams: [a]\nvariants: [none]\nprotocols: [si5, {protocol: sd, seeds: [0, 1, 2]}]",
    )
    cells = bench.expand(path)
    assert [(cell.fold, cell.seed) for cell in cells[5:]] == [("fold1", s) for s in range(3)]


def test_quick_takes_the_first_fold_and_few_steps(experiment):
    cells = bench.expand(experiment, quick=True)
    assert [cell.fold for cell in cells] == ["fold1", "fold1"]
    assert cells[0].changes["runner"]["total_steps"] == 20


def test_the_command_is_an_ordinary_run_that_continues_what_is_there(experiment):
    cell = bench.expand(experiment)[2]
    command = cell.command(Path("/out/cell"))
    assert command == [
        *[sys.executable, "-m", "spknorm", "run-downstream", "-m", "train"],
        *["-d", "emotion_spknorm", "-u", "spknorm_demo_hubert", "-v", "fold1", "--seed", "1337"],
        "--frozen",
        "-o",
        "config.runner.total_steps=30,,config.downstream_expert.datarc.protocol=si5,,"
        "config.downstream_expert.spknorm.strategy=SNP",
        *["-p", "/out/cell", "-a"],
    ]


@pytest.mark.parametrize(
    "value",
    [1, 1e-4, True, None, "SNP", "1", "a b ", "x=y", "/a/b.pt", [1, 2], ("dev", "test"), {}],
)
def test_settings_survive_the_way_through_the_command_line(value):
    read = {}
    apply_to_config(parse_overrides(f"config.a.b={literal(value)}"), read)
    assert read["a"]["b"] == (list(value) if isinstance(value, tuple) else value)


def test_a_setting_with_two_commas_is_refused():
    with pytest.raises(ConfigError, match=r"^`a,,b` cannot be a setting: `,,` separates settings"):
        literal("a,,b")


def test_a_bench_runs_every_cell_and_a_second_call_runs_none(experiment, tmp_path):
    out, seen = tmp_path / "out", []
    command = stub_command(tmp_path)
    summary = bench.run(experiment, out, command=command, on_progress=seen.append)
    assert len(summary.complete) == 4
    assert seen[-1]._replace(ended=None) == (4, 4, 0, 0, 0.0, None)
    assert max(progress.running for progress in seen) == 2
    written = json.loads(summary.path.read_text())
    assert written["schema"] == "spknorm.summary/1"
    assert [cell["status"] for cell in written["cells"]] == ["complete"] * 4
    assert written["runs"][2]["variant"] == "SNP-frozen"
    assert "config" not in written["runs"][0]
    assert not (out / ".jobs").exists()
    before = summary.path.read_bytes()
    assert len(bench.run(experiment, out, command=command).complete) == 4
    assert summary.path.read_bytes() == before
    assert all(starts(out, cell) == ["0"] for cell in bench.expand(experiment))


def test_a_failed_cell_stops_nothing_and_says_why(experiment, tmp_path):
    out = tmp_path / "out"
    summary = bench.run(experiment, out, command=stub_command(tmp_path, failing="none"))
    assert len(summary.complete) == 3
    (failed,) = summary.failed
    log = out / failed.cell.name / "run.log"
    assert failed.cell.name == "spknorm_demo_hubert-none-si5-fold2-seed1337"
    assert failed.error == f"The stub was told to fail. (all of it: {log})"
    assert bench.run(experiment, out, command=stub_command(tmp_path)).failed == ()


def test_a_result_made_with_other_settings_is_neither_used_nor_overwritten(experiment, tmp_path):
    out = tmp_path / "out"
    bench.run(experiment, out, command=stub_command(tmp_path))
    experiment.write_text(EXPERIMENT.replace("total_steps: 30", "total_steps: 40"))
    summary = bench.run(experiment, out, command=stub_command(tmp_path))
    assert summary.complete == ()
    folder = out / summary.failed[0].cell.name
    assert summary.failed[0].error == (
        f"{folder} holds a result made with other settings (runner.total_steps was 30, now it is "
        "40). Remove that folder, or choose another with --out."
    )
    assert json.loads((folder / "result.json").read_text())["config"]["runner"]["total_steps"] == 30


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "other"}'])
def test_half_a_result_is_made_again(experiment, tmp_path, content):
    experiment.write_text(EXPERIMENT.replace("fold1, fold2", "fold1"))
    out, cell = tmp_path / "out", bench.expand(experiment)[0]
    (out / cell.name).mkdir(parents=True)
    (out / cell.name / "result.json").write_text(content)
    assert bench.plan(experiment, out).statuses[0].status == "pending"
    assert len(bench.run(experiment, out, command=stub_command(tmp_path)).complete) == 2


def test_a_plan_estimates_from_the_finished_cells_and_runs_nothing(experiment, tmp_path):
    out = tmp_path / "out"
    assert bench.plan(experiment, out).seconds_left is None
    assert not out.exists()
    cells = bench.expand(experiment)
    (out / cells[0].name).mkdir(parents=True)
    (out / cells[0].name / "result.json").write_text(json.dumps(result_of(cells[0])))
    plan = bench.plan(experiment, out)
    assert [one.status for one in plan.statuses] == ["complete"] + ["pending"] * 3
    assert plan.max_parallel == 2
    assert plan.seconds_left == pytest.approx(3 * 10 / 2)


def test_two_benches_in_one_folder_are_refused(experiment, tmp_path):
    out = tmp_path / "out"

    def second(progress):
        with pytest.raises(ConfigError, match=r"is in use by process"):
            bench.run(experiment, out, command=stub_command(tmp_path))

    experiment.write_text(EXPERIMENT.replace("fold1, fold2", "fold1"))
    bench.run(experiment, out, command=stub_command(tmp_path), on_progress=second)


def test_ctrl_c_stops_the_running_cells_and_a_new_call_continues_them(experiment, tmp_path):
    out, cells = tmp_path / "out", bench.expand(experiment)

    def interrupt(progress):
        if progress.running == 2:
            deadline = time.monotonic() + 120
            while not (out / cells[0].name / "state").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(experiment, out, command=stub_command(tmp_path, pause=3.0), on_progress=interrupt)
    deadline = time.monotonic() + 10  # a stub alone would take 15 s
    while any(is_running(out / cell.name) for cell in cells):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert json.loads((out / "summary.json").read_text())["runs"] == []
    assert len(bench.run(experiment, out, command=stub_command(tmp_path)).complete) == 4
    assert int(starts(out, cells[0])[1]) >= 1


BENCH = """\
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import bench_stubs
from spknorm import bench
folder = Path(sys.argv[2])
bench.run(folder / "stubs.yaml", folder / "out",
          command=bench_stubs.stub_command(folder, pause=float(sys.argv[3])))
"""


def start_bench(folder, pause):
    """A bench in a process group of its own."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", BENCH, str(Path(__file__).parent), str(folder), str(pause)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(command, cwd=root, env=environment, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("everything", [True, False], ids=["with_its_runs", "alone"])
def test_a_bench_killed_five_times_at_random_ends_as_an_undisturbed_one(tmp_path, everything):
    text = EXPERIMENT.replace(
        "folds: [fold1, fold2]", "seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8]"
    ).replace("si5", "si5, folds: [fold1, fold2]")
    folders = [tmp_path / name for name in ("killed", "undisturbed")]
    for folder in folders:
        folder.mkdir()
        (folder / "stubs.yaml").write_text(text)
    generator = random.Random(5)

    def count():
        return len(list(folders[0].glob("out/*/result.json")))

    # A cell takes at least 0.25 s and two run at a time, so that five kills leave some of the 36.
    for kill in range(5):
        before = count()
        process = start_bench(folders[0], 0.05)
        while kill > 0 and count() == before:
            time.sleep(0.01)
        time.sleep(generator.uniform(0.0, 0.25))
        assert process.poll() is None
        if everything:
            os.killpg(process.pid, signal.SIGKILL)
        else:  # its runs live on, and the next bench has to wait for them
            process.kill()
        process.wait()
    for folder in folders:
        assert start_bench(folder, 0.05).wait(120) == 0
    results = []
    for folder in folders:
        cells = bench.expand(folder / "stubs.yaml")
        assert len(cells) == 36
        read = [json.loads((folder / "out" / c.name / "result.json").read_text()) for c in cells]
        results.append([{**one, "seconds": None} for one in read])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstreams: [a]", "{path}: `variants` is missing: what should be compared?"),
        (
            "upstream: [a]",
            "{path}: `upstream` is not a known key. Did you mean `upstreams`? Known here: name, "
            "kind, config, upstreams, variants, lambdas, protocols, seeds, select, audit, "
            "executor.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\naudit: 1",
            "{path}: `audit` must be true or false, but is 1.",
        ),
        ("upstreams: a", "{path}: `upstreams` must be a list of at least one."),
        ("kind: other", "{path}: `kind` must be one of bench, controlled, superb, but is `other`."),
        (
            "upstreams: [a]\nvariants: [{strateg: SNP}]",
            "variants: `strateg` is not a known key. Did you mean `strategy`? Known here: name, "
            "frozen, selection, layer, shuffled, config, strategy, update, adversary, "
            "speaker_lambda, ascent_direction, ascent_clip, ascent_lr, schedule, ramp, ceiling, "
            "held_out_every, speaker_pretrain_steps, speaker_warmup_steps, speaker_steps, "
            "train_feature_extractor, erasure, erasure_rank.",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: SPN}]",
            "`config.downstream_expert.spknorm.strategy` must be one of none, SNP, TAP, but is "
            "`'SPN'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [none, none]",
            "Two runs would be called a-none-si5-fold1-seed1337: give the variants or upstreams "
            "that differ names of their own (`name`, `label`).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nprotocols: [emobox]",
            "`protocols` must be among si5, si10, loso, loso-group, sd, low_resource, but one is "
            "`emobox`.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nprotocols: [{protocol: sd, folds: [fold2]}]",
            "`folds` of sd must be among fold1, but one is `fold2`.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nprotocols: [{protocol: sd, draws: [1]}]",
            "`samples_per_label` and `draws` belong to low_resource, not to sd.",
        ),
        ("upstreams: [{ckpt: a}]\nvariants: [none]", "`upstreams`: one of them lacks its `name`."),
        ("upstreams: [1]\nvariants: [none]", "`upstreams` holds names or mappings, but one is 1."),
        (
            "upstreams: [a]\nvariants: [none]\nseeds: [x]",
            "`seeds` must be a whole number, but is 'x'.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {kind: pbs}",
            "{path}: `executor.kind` must be local or slurm, but is `pbs`.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {threads: 0}",
            "{path}: `executor.threads` must be 1 or more, but is 0.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: slurm",
            "{path}: `executor` must be a mapping such as {{kind: slurm}}.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nconfig: {runner: {on_config_change: fork}}",
            "A bench looks for each result in the cell's own folder, so that "
            "`runner.on_config_change: fork` cannot serve it: leave it out.",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: on}]",
            "`config.downstream_expert.spknorm.strategy` must be one of none, SNP, TAP, but is "
            "`True` (bool).",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: none, frozen: maybe}]",
            "`variants.frozen` must be true or false, but is `'maybe'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: none, layer: last}]",
            "`variants.layer` must be a whole number, but is `'last'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [TAP]\nlambdas: [weak]",
            "`{path}.lambdas[0]` must be a number, but is `'weak'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nseeds: [-1]",
            "`seeds` must be from 0 to 2**32 - 1, but one is -1.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {requeue: perhaps}",
            "`{path}: executor.requeue` must be true or false, but is `'perhaps'` (str).",
        ),
        ("kind: controlled", "An experiment of kind controlled has no runs of its own to expand."),
    ],
)
def test_a_wrong_experiment_file_is_refused_before_anything_runs(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        bench.expand(path)
    assert str(caught.value) == message.format(path=path)


def test_a_missing_experiment_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"There is no configuration file .*none\.yaml"):
        bench.expand(tmp_path / "none.yaml")


def test_slurm_without_sbatch_is_told(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    experiment.write_text(EXPERIMENT.replace("max_parallel: 2", "kind: slurm"))
    with pytest.raises(ConfigError, match=r"^`executor.kind` is slurm, but there is no sbatch"):
        bench.run(experiment, tmp_path / "out", command=stub_command(tmp_path))


def test_a_run_that_never_starts_is_explained_by_what_submitit_said(experiment, tmp_path):
    experiment.write_text(EXPERIMENT.replace("fold1, fold2", "fold1"))
    summary = bench.run(experiment, tmp_path / "out", command=lambda *_: ["/no/such/program"])
    assert "/no/such/program" in summary.failed[0].error
