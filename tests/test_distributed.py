"""Two processes under torchrun against one process with the same global batch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import outcome_of, settings_of, train, weights_of

SCRIPT = Path(__file__).parent / "tiny_runs.py"
TOLERANCE = 1e-5


def torchrun(folder, ckpt, corpora, options, *, processes=2, restarts=0):
    """Start a run under torchrun; return its process."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={processes}", f"--max-restarts={restarts}", str(SCRIPT),
        str(folder), str(ckpt), str(corpora), json.dumps(options),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder.mkdir(exist_ok=True)
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
        )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended early"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def workers_of(process):
    """Return the process numbers of torchrun's workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if SCRIPT.name in Path(f"/proc/{child}/cmdline").read_text(errors="replace")
    ]


def options_of(update, batch_size, **more):
    sizes = {
        "datarc": {"train_batch_size": batch_size},
        "speaker_corpus": {"batch_size": batch_size},
    }
    return {
        "update": update, "total_steps": 12, "eval_step": 6, "save_step": 6, "expert": sizes,
        "method": {"speaker_steps": 2}, "gradient_accumulate_steps": 2, **more,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("update", "method"),
    [
        ("literal", {}),
        ("reversal", {}),
        ("relative", {"speaker_lambda": 0.3, "relative_to": "step"}),
        ("relative", {"speaker_lambda": 3.0, "speaker_catch_up": 0.002, "adversary": "confusion"}),
    ],
)
def test_two_processes_train_as_one_with_the_same_global_batch(
    still_hubert, tiny_corpora, tmp_path, update, method
):
    """32 training utterances in batches of 3 per process: the last global batch is short."""
    more = {"method": {"speaker_steps": 2, **method}}
    process = torchrun(tmp_path / "two", still_hubert, tiny_corpora, options_of(update, 3, **more))
    assert process.wait(300) == 0, (tmp_path / "two" / "output.txt").read_text()
    options = options_of(update, 6, **more)
    train(still_hubert, settings_of(tiny_corpora, **options), tmp_path / "one")
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], rtol=TOLERANCE, atol=TOLERANCE), name
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    batches = [line["speaker_batches"] for line in lines[0] if line["split"] == "train"]
    assert (max(batches) > 2) == ("speaker_catch_up" in method)
    for single, double in zip(*lines, strict=True):
        assert single.keys() == double.keys()
        for key, value in single.items():
            expected = pytest.approx(value, rel=1e-4, abs=1e-6) if key != "split" else value
            assert double[key] == expected, (single["step"], key)
    assert outcome_of(tmp_path / "one")[2] == outcome_of(tmp_path / "two")[2]


SHORT = """
import json, os, sys
sys.path[:0] = [sys.argv[1]]
import tiny_runs, torch
from pathlib import Path
folder, upstream, corpora, options, where = sys.argv[2:7]
settings = tiny_runs.settings_of(Path(corpora), **json.loads(options))
runner = tiny_runs.make_runner(upstream, settings, folder)
fails = runner.world.rank == 1
if where in ("emotion", "speaker"):
    kind = type(runner.source)
    features_of = kind.__call__
    def short(self, batch, *, corpus):
        if fails and corpus == where and runner.expert.training and runner.counters.step == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return features_of(self, batch, corpus=corpus)
    kind.__call__ = short
else:
    make = runner._make_iteration
    def made():
        iteration = make()
        optimizer = iteration.update.optimizers[where]
        step = optimizer.step
        def short():
            step()
            if fails and runner.counters.step == 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        optimizer.step = short
        return iteration
    runner._make_iteration = made
runner.train()
weights = [v for entry in runner.all_entries for v in entry.model.state_dict().values()]
digest = sum(float(v.double().sum()) for v in weights)
Path(folder, f"digest{runner.world.rank}").write_text(repr(digest))
"""


@pytest.mark.slow
@pytest.mark.fault("half an iteration")
@pytest.mark.parametrize("where", ["emotion", "speaker", "ascent"])
@pytest.mark.parametrize("update", ["literal", "relative"])
def test_memory_that_is_short_in_one_process_takes_the_step_back_in_all(
    still_hubert, tiny_corpora, tmp_path, update, where
):
    script = tmp_path / "short.py"
    script.write_text(SHORT)
    options = options_of(update, 3, total_steps=5, eval_step=5, save_step=5)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(script), str(SCRIPT.parent), str(tmp_path / "run"), str(still_hubert),
            str(tiny_corpora), json.dumps(options), where,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    one, two = ((tmp_path / "run" / f"digest{rank}").read_text() for rank in (0, 1))
    assert one == two
    text = (tmp_path / "run" / "log.log").read_text()
    assert text.count("out of memory at step 3, batch skipped") == 1
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    skipped = [json.loads(line)["ascents_skipped"] for line in lines if '"train"' in line]
    assert skipped == [0, 0, 1, 0, 0]


ENDED = """
import atexit, os, sys

def count():
    with open(f"{sys.argv[2]}/{world.rank}", "w") as file:
        file.write(f"{during > 1} {len(os.listdir('/proc/self/task'))}")

atexit.register(count)  # before the group's own, so that it comes after it
import torch
from spknorm.method.optim.world import World
world = World("cpu")
weight = torch.nn.Parameter(torch.ones(1))
torch.optim.Adam([weight]).zero_grad()  # imports much of torch
world.same_weights(torch.nn.ParameterList([weight]))
during = len(os.listdir("/proc/self/task"))
if sys.argv[1] == "finished":
    world.leave()
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["finished", "broken off"])
def test_no_thread_outlives_the_group(tmp_path, ending):
    """Those of gloo can abort a process that has finished."""
    script = tmp_path / "ended.py"
    script.write_text(ENDED)
    subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(script), ending, str(tmp_path),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent.parent)},
        check=True, timeout=300,
    )  # fmt: skip
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["True 1", "True 1"]


@pytest.mark.slow
@pytest.mark.fault("signal")
def test_a_signal_ends_all_processes_with_a_checkpoint_to_go_on_from(
    still_hubert, tiny_corpora, tmp_path
):
    options = options_of("literal", 3, total_steps=400, eval_step=400, save_step=400)
    process = torchrun(tmp_path / "run", still_hubert, tiny_corpora, options)
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size > 0, process)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) != 0
    assert time.monotonic() - started < 30
    assert list((tmp_path / "run").glob("states-*.ckpt"))


@pytest.mark.slow
@pytest.mark.fault("killed rank")
def test_a_killed_process_ends_all_and_torchruns_restart_goes_on(
    still_hubert, tiny_corpora, tmp_path
):
    options = options_of("literal", 3, total_steps=40, eval_step=10, save_step=10)
    process = torchrun(tmp_path / "run", still_hubert, tiny_corpora, options, restarts=1)
    folder = tmp_path / "run"
    wait_for(lambda: (folder / "states-10.ckpt").exists(), process)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    assert process.wait(300) == 0, (folder / "output.txt").read_text()
    undisturbed = torchrun(tmp_path / "whole", still_hubert, tiny_corpora, options)
    assert undisturbed.wait(300) == 0
    assert outcome_of(folder) == outcome_of(tmp_path / "whole")
    ours, theirs = weights_of(folder), weights_of(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
@pytest.mark.fault("changed settings")
def test_all_processes_go_on_in_one_fork(still_hubert, tiny_corpora, tmp_path):
    run, fork = tmp_path / "run", tmp_path / "run-fork1"
    options = options_of("literal", 3, total_steps=6)
    assert torchrun(run, still_hubert, tiny_corpora, options).wait(300) == 0
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.suffix != ".txt")
    before = {path: path.read_bytes() for path in files if path.name != ".lock"}
    changed = {"method": {"speaker_steps": 2, "speaker_lambda": 0.5}, "on_config_change": "fork"}
    options = {**options_of("literal", 3), **changed}
    process = torchrun(run, still_hubert, tiny_corpora, options)
    assert process.wait(300) == 0, (run / "output.txt").read_text()
    assert {path: path.read_bytes() for path in before} == before
    result = json.loads((fork / "result.json").read_text())
    assert (result["steps"], result["forked_from"]["step"]) == (12, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-fork1"]
