"""`runner.on_config_change: fork`: other settings go on in a folder of their own.

Used by the command line before it writes into the experiment's folder, which it holds. The
checkpoints of a fork hold the new settings, so that it is an experiment like any other.
"""

import argparse
import itertools
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spknorm import config as configuration
from spknorm.batches.task import read_task_data
from spknorm.config.launcher import place
from spknorm.corpora.digest import summaries
from spknorm.errors import ConfigError
from spknorm.files import read_json, write_atomic, write_json
from spknorm.runs import checkpoint, state
from spknorm.runs.metrics_log import keep_metrics
from spknorm.runs.outcome import FORKED_FROM, forked_from
from spknorm.runs.resume import goes_on
from spknorm.runs.state import Asked

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 600


def follow_fork(args: argparse.Namespace, mapping: Mapping[str, Any]) -> None:
    """Where settings have changed and a fork is asked for, point `args` at the fork.

    A fork that was made for the same settings before is gone on with. The leader alone makes one;
    other processes wait for it.

    Raises:
        ConfigError: The run has no step left to do.
        CheckpointError: A checkpoint is damaged, or the disk is full.
    """
    config, expdir = configuration.parse(mapping), Path(args.expdir)
    training = getattr(args, "mode", "train") == "train"
    if config.runner.on_config_change != "fork" or not training or not goes_on(args, expdir):
        return
    here = place()
    states = checkpoint.read(Path(args.init_ckpt))
    fold = config.downstream_expert.datarc.test_fold or args.downstream_variant or "fold1"
    data = read_task_data(config.downstream_expert, fold=fold, seed=args.seed, work_dir=expdir)
    asked = Asked(args, config, data.corpora, here.size)
    changed = state.changes(states, asked)
    if not changed:
        return
    newest = _find(expdir, asked)
    waits = newest is None and here.rank > 0
    end = time.monotonic() + _WAIT_SECONDS
    while waits and (newest := _find(expdir, asked)) is None:
        if time.monotonic() > end:
            raise ConfigError(f"The first process has made no fork of {expdir}: see what it says.")
        time.sleep(0.2)
    if newest is None:
        newest = _make(expdir, states, changed, asked)
    fork = newest.parent
    step = read_json(fork / FORKED_FROM)["step"]
    logger.warning(
        "%s than those of %s: %s. From its step %d on the run goes on in %s; %s stays as it is.",
        "Other corpora" if all(key.startswith("corpora.") for key in changed) else "Other settings",
        expdir, state.describe(changed), step, fork, expdir,
    )  # fmt: skip
    args.expdir = str(fork)
    args.init_ckpt = str(newest)
    if getattr(args, "past_exp", None):
        args.past_exp = args.expdir


def _find(expdir: Path, asked: Asked) -> Path | None:
    """Return the newest checkpoint of the first fork with the settings and corpora asked for."""
    for fork in _numbered(expdir):
        if not fork.exists():
            return None
        origin = forked_from(fork)
        if origin is not None and origin.get("folder") == expdir.name:
            newest, states = checkpoint.latest(fork)
            if not state.changes(states, asked):
                return newest
    raise AssertionError("unreachable: the numbers do not end")


def _make(
    expdir: Path, states: dict[str, Any], changed: Mapping[str, tuple[Any, Any]], asked: Asked
) -> Path:
    """Make a fork; return its checkpoint."""
    counters = state.Counters.of(states)
    if counters.step >= asked.config.runner.total_steps:
        raise ConfigError(
            f"{expdir} has done all {counters.step} steps, so that a fork with other settings "
            f"({state.describe(changed)}) would have none to do: raise runner.total_steps, or "
            "start a new experiment (-n or -p)."
        )
    for leftover in expdir.parent.glob(f".{expdir.name}-fork.*.tmp"):  # of a killed process
        shutil.rmtree(leftover)
    fork = next(folder for folder in _numbered(expdir) if not folder.exists())
    name = tempfile.mkdtemp(dir=expdir.parent, prefix=f".{expdir.name}-fork.", suffix=".tmp")
    new = Path(name)
    try:
        _fill(new, fork, expdir, states, changed, asked)
        new.chmod(expdir.stat().st_mode & 0o777)
        new.rename(fork)  # whole or absent
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return fork / _name(counters)


def _name(counters: state.Counters) -> str:
    return f"states-{counters.step}.ckpt"


def _fill(
    new: Path,
    fork: Path,
    expdir: Path,
    states: dict[str, Any],
    changed: Mapping[str, tuple[Any, Any]],
    asked: Asked,
) -> None:
    """Write what a fork begins with: checkpoints with the new settings, metrics, where from."""
    args, config, corpora, world = asked
    counters = state.Counters.of(states)
    own = {
        "Args": checkpoint.plain_args(argparse.Namespace(**{**vars(args), "expdir": str(fork)})),
        "Config": configuration.to_mapping(config),
        "WorldSize": world,
    }
    best = expdir / checkpoint.BEST
    found = checkpoint.read(best) if counters.best_step and best.exists() else None
    kept = {**states[state.KEY], "corpora": summaries(corpora)}
    same_dev = found is not None and found["Step"] == counters.best_step
    if same_dev and found is not None and "corpora.emotion" not in changed:
        own_best = {state.KEY: {**found[state.KEY], "corpora": kept["corpora"]}}
        checkpoint.save(new / checkpoint.BEST, {**found, **own, **own_best})
    else:
        # A later best belongs to the course that is left, one on other data to neither.
        counters.forget_best()
        counters.evaluated = 0 if "corpora.emotion" in changed else counters.evaluated
    kept["counters"] = vars(counters)
    checkpoint.save(new / _name(counters), {**states, **own, state.KEY: kept})
    keep_metrics(new, counters.lines, of=expdir)
    write_atomic(
        new / "log.log",
        f"forked from {expdir.name} at step {counters.step}: {state.describe(changed)}\n",
    )
    origin = {"folder": expdir.name, **state.acceptance(counters.step, changed)}
    write_json(new / FORKED_FROM, origin)


def _numbered(expdir: Path) -> Iterator[Path]:
    for number in itertools.count(1):
        yield expdir.with_name(f"{expdir.name}-fork{number}")
