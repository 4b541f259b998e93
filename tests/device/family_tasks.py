"""Whole tiny runs on the pretended device: every family of upstreams, and what else can be set."""

import contextlib
import io
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import steps
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny_families
import tiny_runs
from audit_benches import quicken
from tiny_upstreams import make_distiller

from spknorm import predict
from spknorm.cli.status import exit_status_of
from spknorm.probe.audit import audit
from spknorm.runner.iteration import Iteration
from spknorm.runner.s3prl_runner import S3prlRunner

TOLD = "spknorm: "


class Runs:
    """Trains runs in a folder; checkpoints and corpora are made once.

    A run has the arguments of `tiny_runs.settings_of`, and these:

        family: Of its upstream; see `tiny_families`.
        flags: Of the command line.
        rated: The corpus is one of dimensions.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._corpora = tiny_runs.make_corpora(folder)
        self._flags: dict[str, dict[str, Any]] = {}
        self._number = 0
        os.environ["SPKNORM_CACHE"] = str(folder / "cache")

    def new(self) -> Path:
        """Return a folder for a run, and forget what is cached."""
        self._number += 1
        os.environ["SPKNORM_CACHE"] = str(self.folder / f"cache{self._number}")
        return self.folder / f"run{self._number}"

    def train(self, run: dict[str, Any], place: Path, *, resume: bool = False) -> Any:
        """Train a run, or go on with it."""
        run = {**run}
        flags = {**self._of(run.pop("family", "hubert"))}
        flags |= {"device": "cuda", **run.pop("flags", {})}
        if run.pop("rated", False):
            run["expert"] = {**run.get("expert", {}), "datarc": self._rated()}
        settings = tiny_runs.settings_of(self._corpora, **{"total_steps": 2, **run})
        ckpt = flags.pop("upstream_ckpt")
        return tiny_runs.train(ckpt, settings, place, resume=resume, **flags)

    def _of(self, family: str) -> dict[str, Any]:
        if family not in self._flags:
            place = self.folder / "upstreams" / family.replace(" ", "_")
            place.mkdir(parents=True)
            if family == "distiller":
                made = str(make_distiller(place / "model.pt"))
                self._flags[family] = {"upstream": "distiller_local", "upstream_ckpt": made}
            else:
                self._flags[family] = {**tiny_families.flags_of(family, place)}
        return self._flags[family]

    def _rated(self) -> dict[str, Any]:
        place = self.folder / "rated"
        place.mkdir(exist_ok=True)
        return {
            "corpus": "manifest", "manifest": str(tiny_runs.make_rated(place)), "root": str(place),
            "protocol": "loso-group", "groups": 4, "targets": "dimensions",
        }  # fmt: skip


def waits_of(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Train runs and predict with them; return how often the host waited in each step.

    Layers are not recorded: the step that does it waits more often.
    """
    found = []
    with _folder() as made:
        for run in runs:
            place = made.new()
            other = run.get("other", {})
            upstream = {"graphs": False, **other.get("upstream", {})}
            run = {**run, "other": {**other, "upstream": upstream}}
            with _waits() as waits:
                trained = made.train(run, place)
            predictor = predict.load(place, device=str(trained.world.device))
            told = predictor.predict(steps.batch([1.0]).wavs[0], 16000)
            optimizers = trained._iteration.update.optimizers.values()
            result = json.loads((place / "result.json").read_text())
            found.append(
                {
                    "steps": trained.counters.step,
                    "lost": trained.counters.out_of_memory + trained.counters.nonfinite_in_a_row,
                    "waits": waits,
                    "weights": sum(len(one.state) for one in optimizers),
                    "precision": result["computing"]["precision"],
                    "predicted": len(told),
                }
            )
    return found


@contextlib.contextmanager
def _waits() -> Iterator[list[int]]:
    """Collect the waits of each step."""
    found: list[int] = []
    act = Iteration._try

    def counted(self: Iteration, *batches: Any) -> Any:
        before = steps.device.waits
        done = act(self, *batches)
        found.append(steps.device.waits - before)
        return done

    with mock.patch.object(Iteration, "_try", counted):
        yield found


def told_of(runs: list[dict[str, Any]]) -> list[list[Any]]:
    """Return the exit status of each run, and the lines that it told."""
    with _folder() as made:
        return [_end(made, run, made.new()) for run in runs]


def run_out_in_runs(runs: list[dict[str, Any]], times: int, again: int = 0) -> list[Any]:
    """Let some allocation fail in each run after its models are there; return how each ended.

    Args:
        runs: As `Runs.train` takes them.
        times: How often, at allocations that are drawn.
        again: So many allocations after that another fails; 0: none.
    """
    draw, found = random.Random(0), []
    with _folder() as made:
        for run in runs:
            built: list[int] = []
            build = S3prlRunner._get_downstream

            def noted(self: Any, build: Any = build, built: list[int] = built) -> Any:
                made = build(self)
                built.append(steps.device.allocations)
                return made

            steps.reset()
            with mock.patch.object(S3prlRunner, "_get_downstream", noted):
                ends = [_end(made, run, made.new())]
            count = steps.device.allocations
            for _ in range(times):
                steps.fail("allocation", draw.randrange(built[0] + 1, count))
                steps.device.again = again
                ends.append(_end(made, run, made.new()))
                steps.fail("allocation", 0)
                steps.device.again = 0
            found.append(ends)
    return found


def _end(made: Runs, run: dict[str, Any], place: Path) -> list[Any]:
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        status = exit_status_of(lambda: made.train(run, place) and 0)
    return [status, *(line for line in told.getvalue().splitlines() if line.startswith(TOLD))]


def goes_on(run: dict[str, Any], here: str, there: str) -> dict[str, Any]:
    """Train a run for two steps on one device and go on with it on another."""
    with _folder() as made:
        place = made.new()
        made.train({**run, "flags": {**run["flags"], "device": here}}, place)
        further = {**run, "flags": {**run["flags"], "device": there}, "total_steps": 4}
        trained = made.train(further, place, resume=True)
        log = (place / "log.log").read_text().splitlines()
        states = [
            state
            for optimizer in trained._iteration.update.optimizers.values()
            for state in optimizer.state.values()
        ]
        return {
            "steps": trained.counters.step,
            "counted": sorted({state["step"].device.type for state in states}),
            "computed": [line.split(",")[0] for line in log if line.startswith("computed in")],
        }


def on_the_second_card(run: dict[str, Any]) -> dict[str, Any]:
    """Train, predict and audit on cuda:1; return the most that each card held."""
    with _folder() as made:
        place = made.new()
        made.train({**run, "flags": {**run.get("flags", {}), "device": "cuda:1"}}, place)
        predictor = predict.load(place, device="cuda:1")
        predictor.predict(steps.batch([1.0]).wavs[0], 16000)
        with pytest.MonkeyPatch.context() as patch:
            quicken(patch)
            rows = audit([place], device="cuda:1", every_layer=True)
    held = [torch.cuda.max_memory_allocated(card) for card in range(2)]
    return {"first": held[0], "second": held[1] > 0, "rows": len(rows) > 0}


def computed_with(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Train runs; return what each computed with, and in how many stores of features."""
    found = []
    with _folder() as made:
        made.new()  # a cache that all share
        for number, run in enumerate(runs):
            place = made.folder / str(number)
            made.train(run, place)
            result = json.loads((place / "result.json").read_text())
            stores = [*Path(os.environ["SPKNORM_CACHE"]).glob("features/*")]
            found.append({**result["computing"], "stores": len(stores)})
    return found


def checked_precision(precision: str) -> list[list[str]]:
    """Return what the doctor says of the precision of a run."""
    from spknorm.doctor.machine import check_precision

    run = steps.settings(runner={"precision": precision}).runner
    return [list(check) for check in check_precision(run)]


@contextlib.contextmanager
def _folder() -> Iterator[Runs]:
    with tempfile.TemporaryDirectory() as name:
        yield Runs(Path(name))
