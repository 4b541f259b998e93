"""Memory that runs out on the pretended device: in steps, beside them, and in whole commands."""

import contextlib
import io
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import steps

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny_runs
import tiny_upstreams
from audit_benches import quicken
from kept_features import pooled_features

from spknorm import predict
from spknorm.cli.status import exit_status_of
from spknorm.errors import ConfigError
from spknorm.export import export
from spknorm.probe.audit import audit, dev_leakage
from spknorm.schema import UpstreamConfig


def run_out(
    strategy: str,
    update: str,
    precision: str,
    every: int,
    again: int = 0,
    overflows: bool = False,
    before: int = 0,
    what: str = "allocation",
    **runner: Any,
) -> dict[str, Any]:
    """Let each `every`-th allocation of a step fail once, and do one more step after each.

    Without the caching allocator each tensor is an allocation of the device.

    Args:
        strategy, update, precision: Of the step.
        every: How many allocations lie between those that fail.
        again: So many after the one that fails another does; 0: none.
        overflows: The step before had gradients that were not finite.
        before: So many steps are done beforehand.
        what: One of `steps.FAILURES`, instead of allocations.
        runner: Further settings of that section.
    """
    base = {"runner": {**steps.ONE_BATCH["runner"], **runner}}
    sections = steps.sections(strategy=strategy, update=update, precision=precision, base=base)
    config = steps.settings(**sections)
    batches = steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50)
    made = steps.Setup("tiny", config)
    for _ in range(before):
        made.step(*batches)
    steps.reset()
    made.step(*batches)
    first, survived, said = steps.counted(what), 0, set()
    for number in range(1, first, every):
        made = steps.Setup("tiny", config)  # whose optimisers have no state yet
        if overflows:
            steps.device.reads = 2
            made.step(*batches)
            steps.device.reads = 0
        for _ in range(before):
            made.step(*batches)
        steps.fail(what, number)
        steps.device.again = again
        made.step(*batches)
        steps.fail(what, 0)
        steps.device.again = 0
        made.step(*batches)
        counters = made.counters
        good = (2 + overflows + before, 0, 0)
        survived += (
            counters.step, counters.out_of_memory, counters.nonfinite_in_a_row,
        ) == good  # fmt: skip
        said |= {text.partition(": ")[2] for text in made.said}
    return {"tried": len(range(1, first, every)), "survived": survived, "said": sorted(said)}


def run_out_elsewhere(every: int) -> dict[str, Any]:
    """Let some `every` allocations fail, one at a time, of each that a run does beside its steps.

    What comes then is compared with what comes otherwise.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpora = tiny_runs.make_corpora(folder)
        checkpoint = tiny_upstreams.make_hubert(folder / "hubert.pt")
        settings = tiny_runs.settings_of(corpora, total_steps=1)
        runner = tiny_runs.train(checkpoint, settings, folder / "run", device="cuda")
        predictor = predict.load(folder / "run", device="cuda")
        upstream, off = runner.upstream.model, UpstreamConfig(cache="off")
        utterances = runner.expert.split.dev
        wav = steps.batch([1.0]).wavs[0]
        asked = {
            "evaluation": lambda: runner._predict("dev").predicted,
            "features": lambda: pooled_features(
                upstream, utterances, config=off, device="cuda"
            ).tolist(),
            "predict": lambda: predictor.predict(wav, 16000),
            "export": lambda: str(export(folder / "run", folder / "export")),
        }  # fmt: skip
        found: dict[str, Any] = {what: _survives(act, every) for what, act in asked.items()}
        steps.reset()
        expected, long = predictor.predict(wav, 16000), steps.batch([300.0]).wavs[0]
        os.environ["PRETENDED_OTHERS"] = "79950"  # 50 MB are left
        try:
            predictor.predict(long, 16000)
        except ConfigError as error:
            found["long"] = str(error)
        del os.environ["PRETENDED_OTHERS"]
        found["after it as before"] = predictor.predict(wav, 16000) == expected
        return found


def _survives(act: Any, every: int) -> dict[str, int]:
    act()  # and the second time nothing is made that stays
    steps.reset()
    expected = act()
    count, survived = steps.device.allocations, 0
    numbers = range(1, count + 1, max(1, count // every))
    for number in numbers:
        steps.reset()
        steps.device.fail_at = number
        survived += act() == expected
        steps.device.fail_at = 0
    return {"tried": len(numbers), "survived": survived}


def run_out_in_commands(asked: list[tuple[str, str, int]]) -> list[list[str]]:
    """Let memory run out in whole commands, once each time; return how each time ended.

    A command that ended well has an empty line, else the status and what it told.

    Args:
        asked: A command, what fails, one of `steps.FAILURES`, and about how often it is tried.
    """
    with tempfile.TemporaryDirectory() as name:
        commands = Commands(Path(name))
        found = []
        for command, what, times in asked:
            steps.reset()
            commands.do(command)
            count = steps.counted(what)
            ends = []
            for number in range(1, count + 1, max(1, count // times)):
                steps.fail(what, number)
                ends.append(commands.do(command))
                steps.fail(what, 0)
            found.append(ends)
        return found


class Commands:
    """What a user does with a run, each time as if it were the first."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, itertools.count()
        self._corpora = tiny_runs.make_corpora(folder)
        self._checkpoint = tiny_upstreams.make_hubert(folder / "hubert.pt")
        self._run = self._train()

    def do(self, command: str) -> str:
        """Do one; return what it told if it did not end well."""
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            try:
                status = exit_status_of(lambda: getattr(self, f"_{command}")() and 0)
            except BaseException as error:
                return repr(error)
        lines = [line for line in told.getvalue().splitlines() if line.startswith("spknorm: ")]
        return "" if status == 0 else " ".join([str(status), *lines])

    def _new(self) -> Path:
        number = next(self._numbers)
        os.environ["SPKNORM_CACHE"] = str(self._folder / f"cache{number}")
        return self._folder / str(number)

    def _train(self, strategy: str = "TAP", **sections: Any) -> Path:
        """With a speaker head that is trained first, and looked at with held-out batches."""
        mapping = tiny_runs.settings_of(
            self._corpora, strategy=strategy, total_steps=1, other={"upstream": {"cache": "auto"}},
            method={"speaker_pretrain_steps": 2, "held_out_every": 1}, **sections,
        )  # fmt: skip
        place = self._new()
        flags = {"upstream_trainable": strategy != "SNP"}
        tiny_runs.train(self._checkpoint, mapping, place, device="cuda", **flags)
        return place

    def _train_frozen(self) -> Path:
        return self._train("SNP")

    def _train_none(self) -> Path:
        return self._train("none")

    def _train_dimensions(self) -> Path:
        place = self._new()
        place.mkdir()
        rated = {
            "corpus": "manifest", "manifest": str(tiny_runs.make_rated(place)), "root": str(place),
            "protocol": "loso-group", "groups": 4, "targets": "dimensions",
        }  # fmt: skip
        return self._train(expert={"datarc": rated})

    def _predict(self) -> dict[str, float]:
        predictor = predict.load(self._run, device="cuda")
        return predictor.predict(steps.batch([1.0]).wavs[0], 16000)

    def _audit(self) -> list[Any]:
        copied = Path(shutil.copytree(self._run, self._new()))
        with pytest.MonkeyPatch.context() as patch:
            quicken(patch)
            return audit(copied, device="cuda", every_layer=True)

    def _leakage(self) -> float:
        self._new()
        with pytest.MonkeyPatch.context() as patch:
            quicken(patch)
            return 1.0 + dev_leakage(self._run, device="cuda")

    def _export(self) -> Path:
        return export(self._run, self._new(), onnx=True).folder


def long_utterances(seconds: list[float], steps_done: int) -> dict[str, Any]:
    """Do some steps of long utterances and speaker crops with a HuBERT Large."""
    sections = steps.sections(
        strategy="TAP", update="relative", precision="bf16", base=steps.ONE_BATCH
    )
    made = steps.Setup("large", steps.settings(**sections))
    steps.device.reads = 1
    for _ in range(steps_done):
        made.step(steps.batch(seconds), steps.batch([4.0] * 32, classes=50))
    counters = made.counters
    return {
        "done": counters.step,
        "lost": counters.out_of_memory,
        "most_frames": counters.most_frames,
        "recomputes": counters.recomputes,
        "keeps_on_host": counters.keeps_on_host,
        "said": made.said,
        "reserved_gb": steps.asked().reserved_gb,
    }
