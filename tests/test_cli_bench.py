"""`spknorm bench` as it is typed: what it prints, which status it ends with."""

import functools
import os
import re
import time

import pytest
from bench_stubs import EXPERIMENT, stub_command

from spknorm import bench
from spknorm.cli import main
from spknorm.errors import ConfigError, DataError
from spknorm.registry import shared_configs


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stubs.yaml").write_text(EXPERIMENT)
    return tmp_path / "stubs.yaml"


@pytest.fixture
def stubbed(tmp_path, monkeypatch):
    """Let `spknorm bench` run stubs; the function says which strategy fails on fold2.

    Unless asked for no report is made of them, which takes longer than all the rest.
    """

    def stub(failing="nobody", *, reported=False):
        monkeypatch.setattr("spknorm.bench.jobs.LocalJobs.poll_seconds", 0.02)
        if not reported:
            monkeypatch.setattr("spknorm.report.build", lambda out: [])
            monkeypatch.setattr("spknorm.report.text", lambda out: "")
        command = stub_command(tmp_path, failing=failing)
        monkeypatch.setattr("spknorm.bench.run", functools.partial(bench.run, command=command))

    return stub


def test_a_dry_run_prints_the_grid_and_the_first_command(experiment, capsys):
    assert main(["bench", str(experiment), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("pending   spknorm_demo_hubert-none-si5-fold1-seed1337\n")
    assert "4 runs, of which 0 are complete, in result/stubs\nAt a time: 2\n" in printed
    assert re.search(r"\nDisk: about 0\.\d+ GB of checkpoints; \d+ GB are free\n", printed)
    assert re.search(r"\nMemory: about 0\.7\d GB on the device of a run\n", printed)
    assert re.search(r"^Time: .* GPU hours \(an estimate: .*Known better when a run", printed, re.M)
    assert "python -m spknorm run-downstream -m train -d emotion_spknorm" in printed
    assert not (experiment.parent / "result").exists()


def test_a_bench_ends_with_one_table_chance_and_the_report(
    experiment, stubbed, capsys, no_pictures
):
    stubbed(reported=True)
    assert main(["bench", str(experiment)]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert re.fullmatch(r" +WA % +UA % +worst % +runs", lines[0])
    scores = r"si5 +62\.5 ± 0\.0 +63\.3 ± 0\.0 +50\.0 +2"
    assert re.fullmatch(rf"\S+ +none +{scores}", lines[1])
    assert re.fullmatch(rf"\S+ +SNP, confusion loss, frozen +{scores}", lines[2])
    assert re.fullmatch(r" +chance +si5 +62\.5 +50\.0", lines[3])
    assert lines[-1] == "4 of 4 runs are complete. Report: result/stubs"
    assert "[4/4, about 0 s left] spknorm_demo_hubert-" in printed.err
    assert (experiment.parent / "result/stubs/report.html").is_file()
    main(["bench", str(experiment), "--dry-run"])
    assert capsys.readouterr().out.count("complete  spknorm_demo_hubert-") == 4


def test_a_failed_run_ends_with_status_1_and_its_reason(experiment, stubbed, capsys):
    stubbed(failing="SNP")
    assert main(["bench", str(experiment), "--out", "there"]) == 1
    printed = capsys.readouterr()
    reason = "FAILED spknorm_demo_hubert-SNP-frozen-si5-fold2-seed1337: The stub was told to fail."
    assert reason in printed.err
    assert "3 of 4 runs are complete. Report: there" in printed.out


def test_ctrl_c_says_how_to_go_on(experiment, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("spknorm.bench.run", interrupted)
    assert main(["bench", str(experiment)]) == 130
    assert "Stopped. The same command continues where it was." in capsys.readouterr().err


def test_corpora_named_on_the_command_line_reach_the_runs(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("IEMOCAP_ROOT", "elsewhere")
    assert main(["bench", str(experiment), "--dry-run", "--iemocap", str(tmp_path)]) == 0
    assert os.environ["IEMOCAP_ROOT"] == str(tmp_path.resolve())


def test_a_corpus_that_is_no_folder_is_refused(experiment, capsys):
    assert main(["bench", str(experiment), "--iemocap", "nowhere"]) == 2
    assert capsys.readouterr().err == "spknorm: `--iemocap nowhere`: there is no such folder.\n"


def test_the_projects_own_experiments_are_found_by_name(experiment, capsys):
    assert main(["bench", "low_resource.yaml", "--dry-run", "--quick"]) == 0
    assert (
        "6 runs, of which 0 are complete, in result/low_resource-quick" in capsys.readouterr().out
    )


def test_a_missing_experiment_file_is_named(experiment, capsys):
    assert main(["bench", "none.yaml"]) == 2
    assert "There is no configuration file none.yaml." in capsys.readouterr().err


@pytest.mark.parametrize("works", [True, False])
def test_leakage_is_measured_once_where_the_experiment_says_so(
    experiment, stubbed, capsys, monkeypatch, works
):
    stubbed()
    heard = []

    def audit(out, *, device, tell, progress):
        progress(1, 1)
        tell("a stage")
        heard.append(out)
        if not works:
            raise DataError("No speaker corpus.")
        probe = out / "spknorm_demo_hubert-none-si5-fold1-seed1337" / "probe.json"
        probe.write_text('{"schema": "spknorm.probe/1", "rows": []}')

    monkeypatch.setattr("spknorm.probe.audit.audit", audit)
    monkeypatch.setattr(
        "spknorm.probe.audit.is_complete", lambda out: any(path for path in out.rglob("probe.json"))
    )
    experiment.write_text(EXPERIMENT.replace("fold1, fold2", "fold1") + "audit: true\n")
    assert main(["bench", str(experiment)]) == (0 if works else 1)
    said = capsys.readouterr().err
    assert "Audit: a stage" in said
    assert works or "The leakage audit failed: No speaker corpus." in said
    main(["bench", str(experiment)])
    assert len(heard) == (1 if works else 2)


def test_the_status_of_a_bench_is_told_from_its_folder_alone(experiment, stubbed, capsys):
    stubbed(failing="SNP")
    assert main(["bench", str(experiment), "--out", "there"]) == 1
    capsys.readouterr()
    assert main(["bench", "--status", "there"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "complete  spknorm_demo_hubert-none-si5-fold1-seed1337"
    assert printed[3].startswith(
        "failed    spknorm_demo_hubert-SNP-frozen-si5-fold2-seed1337: The stub was told to fail."
    )
    assert printed[-1] == "4 in all: 3 complete, 1 failed"
    (experiment.parent / "there" / printed[3].split()[1].rstrip(":") / "metrics.jsonl").write_text(
        '{"step": 40, "split": "train"}\n'
    )
    main(["bench", "--status", "there"])
    assert re.search(r"\nrunning   \S+fold2\S+: step 40, 0 s ago\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (5, r"running   \S+fold2\S+: step 40, 0 s ago"),
        (90_000, r"failed    \S+fold2\S+: The stub w"),
    ],
)
def test_a_clock_that_was_put_back_does_not_make_a_run_go_on(
    experiment, stubbed, capsys, ahead, said
):
    stubbed(failing="SNP")
    assert main(["bench", str(experiment), "--out", "there"]) == 1
    [folder] = (experiment.parent / "there").glob("*SNP*fold2*")
    metrics = folder / "metrics.jsonl"
    metrics.write_text('{"step": 40, "split": "train"}\n')
    os.utime(metrics, (time.time() + ahead,) * 2)
    capsys.readouterr()
    main(["bench", "--status", "there"])
    printed = capsys.readouterr().out
    assert re.search(said, printed)
    assert not re.search(r"-\d+ s ago", printed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--status", "nowhere"],
            "There is no folder nowhere: name a bench's, the one with summary.json in it.",
        ),
        ([], "`spknorm bench` needs an experiment file, or --status DIR."),
    ],
)
def test_a_bench_without_a_file_or_folder_is_refused(experiment, capsys, words, message):
    assert main(["bench", *words]) == 2
    assert capsys.readouterr().err == f"spknorm: {message}\n"


def test_a_dry_run_of_a_large_grid_has_a_line_per_method(experiment, capsys):
    experiment.write_text(EXPERIMENT + "seeds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n")
    assert main(["bench", str(experiment), "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(
        "pending   spknorm_demo_hubert-none-si5: 22 runs\n"
        "pending   spknorm_demo_hubert-SNP-frozen-si5: 22 runs\n"
        "\n44 runs, of which 0 are complete, in result/stubs\n"
    )


@pytest.mark.parametrize(
    ("name", "task"), [("er", "emotion"), ("sid", "voxceleb1"), ("ic", "fluent_commands")]
)
def test_settings_of_a_stock_task_name_that_task(experiment, name, task):
    path = shared_configs()[f"superb/{name}.yaml"]
    with pytest.raises(ConfigError, match=f"-d {task} -u UPSTREAM -c {path}"):
        bench.read_experiment(path)
