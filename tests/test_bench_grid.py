"""A bench runs its cells, whatever happens to them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_files import experiment  # noqa: F401 (fixtures)
from bench_stubs import EXPERIMENT, result_of, starts, stub_command

from spknorm import bench
from spknorm.bench.executor import Executor
from spknorm.bench.jobs import gpus_for, max_parallel
from spknorm.bench.worker import is_running
from spknorm.errors import ConfigError


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Look after cells, which take milliseconds, more often."""
    monkeypatch.setattr("spknorm.bench.jobs.LocalJobs.poll_seconds", 0.02)


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


def test_slurm_without_sbatch_is_told(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    experiment.write_text(EXPERIMENT.replace("max_parallel: 2", "kind: slurm"))
    with pytest.raises(ConfigError, match=r"^`executor.kind` is slurm, but there is no sbatch"):
        bench.run(experiment, tmp_path / "out", command=stub_command(tmp_path))


def test_a_run_is_stopped_at_its_time_limit(experiment, tmp_path, monkeypatch):
    experiment.write_text(EXPERIMENT.replace("fold1, fold2", "fold1"))
    monkeypatch.setattr("spknorm.bench.executor.Executor.minutes", 0.01)
    summary = bench.run(experiment, tmp_path / "out", command=stub_command(tmp_path, pause=60.0))
    said = "It reached its time limit: raise executor.timeout_min, or start the bench again."
    assert [one.error for one in summary.failed] == [said] * 2


def test_a_run_that_never_starts_is_explained(experiment, tmp_path):
    experiment.write_text(EXPERIMENT.replace("fold1, fold2", "fold1"))
    summary = bench.run(experiment, tmp_path / "out", command=lambda *_: ["/no/such/program"])
    assert "/no/such/program" in summary.failed[0].error


def test_windows_linux_has_one_gpu_if_it_has_the_driver(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    real = gpus_for(Executor())
    monkeypatch.setattr("spknorm.bench.jobs._DRIVER_OF_WINDOWS", tmp_path)
    assert gpus_for(Executor()) == (real or ["0"])
    assert gpus_for(Executor(gpus=0)) == []
    assert max_parallel(Executor()) == max(1, len(real))


@pytest.mark.parametrize(
    ("gpus", "visible", "seen"),
    [
        ("null", "2,3", ["2", "3"]),  # one each
        ("null", None, ["as it was"] * 2),  # torch may see one whose device file this does not know
        ("0", "2,3", [""] * 2),
    ],
)
def test_what_a_run_sees_of_the_gpus(experiment, tmp_path, monkeypatch, gpus, visible, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        monkeypatch.setattr("spknorm.bench.jobs.gpus_for", lambda executor: [])
    executor = f"max_parallel: 2, gpus: {gpus}"
    text = EXPERIMENT.replace("fold1, fold2", "fold1").replace("max_parallel: 2", executor)
    experiment.write_text(text)
    script = "import os, time; print(os.environ.get('CUDA_VISIBLE_DEVICES', 'as it was'), end='')"
    script += "; time.sleep(1)"
    bench.run(experiment, tmp_path / "out", command=lambda *_: [sys.executable, "-c", script])
    assert sorted(log.read_text() for log in (tmp_path / "out").rglob("run.log")) == seen
