"""Kills runs at random moments and compares what they end with: one JSON line.

    python tests/reliability/kills.py --kills 50 [--strategies none,SNP,TAP] [--seed 0]

Each trial starts a run in a child process, kills it (SIGKILL) at a moment drawn from the length of
an undisturbed run, goes on with it in another child, and compares weights, metrics.jsonl,
result.json (all but `seconds`) and prediction files bit for bit. Every step evaluates and saves,
so that many kills fall into these. The children are forked, which spares them the imports.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import numpy as np  # noqa: E402
import tiny_runs  # noqa: E402
import tiny_upstreams  # noqa: E402
import torch  # noqa: E402
import torch._dynamo  # noqa: E402 # which every optimiser imports, here once for all children

UPDATES = {
    "literal": {},
    "relative": {"speaker_lambda": 3.0},
    "adaptive": {"ascent_lr": 1e-5},
    "reversal": {"speaker_lambda": 0.3},
}
"""Each reading with a strength at which it does something."""
SAVES_AND_EVALUATES_AT_EVERY_STEP = {"total_steps": 8, "eval_step": 1, "save_step": 1}


def train_in_child(upstream, mapping, folder, *, kill_after=None):
    """Train or go on with a run in a child; return its exit status (-9 if killed)."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with (folder.parent / f"{folder.name}.txt").open("a") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                tiny_runs.train(upstream, mapping, folder, resume=True, reads_back=True)
                status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def moment_of(folder):
    """Say where in a run a kill fell, by what it left behind."""
    if any(folder.glob(".*.ckpt.*.tmp")):
        return "within a checkpoint write"
    if any(folder.glob(".*.tmp")):
        return "within another write"
    if (folder / "result.json").exists():
        return "after the end"
    steps = [int(path.stem.split("-")[1]) for path in folder.glob("states-*.ckpt")]
    return f"after step {max(steps)} was saved" if steps else "before the first checkpoint"


def same(one, other):
    """Whether two runs ended with the same bits."""
    ours, theirs = tiny_runs.weights_of(one), tiny_runs.weights_of(other)
    return (
        ours.keys() == theirs.keys()
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
        and tiny_runs.outcome_of(one) == tiny_runs.outcome_of(other)
    )


def kill_at_random(upstream, mapping, folder, *, kills, generator):
    """Return how many of `kills` interrupted runs ended as the undisturbed one, and the moments."""
    whole = folder / "whole"
    assert train_in_child(upstream, mapping, whole) == 0, (folder / "whole.txt").read_text()
    started = time.monotonic()
    assert train_in_child(upstream, mapping, folder / "timed") == 0
    length = time.monotonic() - started
    held, moments, broken = 0, {}, []
    for trial in range(kills):
        run = folder / f"run{trial}"
        run.mkdir()
        train_in_child(upstream, mapping, run, kill_after=float(generator.uniform(0, length)))
        moment = moment_of(run)
        moments[moment] = moments.get(moment, 0) + 1
        status = train_in_child(upstream, mapping, run)
        if status == 0 and same(run, whole):
            held += 1
        else:
            broken.append(f"{run.name}: exit {status}, {moment}")
    return held, moments, broken


def main() -> int:
    """Run the trials; the exit status is 0 if every one held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="per strategy and update")
    parser.add_argument("--strategies", default="none,SNP,TAP")
    parser.add_argument("--update", choices=UPDATES, default="literal")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(options.seed)
    report = {
        "benchmark": "kills", "kills_per_strategy": options.kills, "update": options.update,
        "seed": options.seed, "torch": torch.__version__, "machine": platform.machine(),
        "strategies": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpora = tiny_runs.make_corpora(folder / "corpora")
        import spknorm.compat
        from spknorm import registry

        registry.register()
        import s3prl.hub

        del spknorm, s3prl
        upstream = tiny_upstreams.make_hubert(folder / "hubert.pt")
        for strategy in options.strategies.split(","):
            mapping = tiny_runs.settings_of(
                corpora, strategy=strategy, update=options.update, method=UPDATES[options.update],
                **SAVES_AND_EVALUATES_AT_EVERY_STEP,
            )  # fmt: skip
            part = folder / strategy
            part.mkdir()
            held, moments, broken = kill_at_random(
                upstream, mapping, part, kills=options.kills, generator=generator
            )
            report["strategies"][strategy] = {
                "killed": options.kills, "bit_equal": held, "moments": moments, "broken": broken,
            }  # fmt: skip
    sys.stdout.write(json.dumps(report, sort_keys=True) + "\n")
    return 0 if all(not part["broken"] for part in report["strategies"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
