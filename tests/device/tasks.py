"""What the tests ask of the pretended device, each in a process of its own; see server.py."""

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import ordering as order_of_streams
import steps
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny_runs
import tiny_upstreams

from spknorm.batches import Batch
from spknorm.errors import ConfigError, DataError
from spknorm.runner.ahead import Ahead
from spknorm.runner.passes import precision_of
from spknorm.runner.sources import UpstreamSource

ONE_BATCH = {"runner": {"gradient_accumulate_steps": 1}}


def count(
    shape: str,
    combinations: list[dict[str, str]],
    emotion: list[float],
    speaker: list[float],
    **sections: Any,
) -> list[dict[str, Any]]:
    """Count the second step of each combination of strategy, update and precision."""
    found = []
    for one in combinations:
        sections = _sections(**one, base=sections)
        made = steps.Setup(shape, steps.settings(**sections), cached=one.get("cached", False))
        steps.device.reads = int(one.get("reads", 1))
        batches = steps.batch(emotion), steps.batch(speaker, classes=50)
        made.step(*batches)
        steps.reset()
        made.step(*batches)
        counted = dataclasses.asdict(steps.asked())
        found.append({**one, **counted, "said": made.said, "done": made.counters.step})
        del made
    return found


def precisions(asked: list[str]) -> list[str]:
    """Return what each precision comes to on this card, or the error."""
    found = []
    for precision in asked:
        config = steps.settings(runner={"precision": precision})
        try:
            found.append(precision_of(config.runner, torch.device("cuda")))
        except ConfigError as error:
            found.append(str(error))
    return found


def run_out(
    strategy: str,
    update: str,
    precision: str,
    every: int,
    again: int = 0,
    overflows: bool = False,
    **runner: Any,
) -> dict[str, Any]:
    """Let each `every`-th allocation of a step fail once, and do one more step after each.

    Without the caching allocator each tensor is an allocation of the device.

    Args:
        strategy, update, precision: Of the step.
        every: How many allocations lie between those that fail.
        again: So many after the one that fails another does; 0: none.
        overflows: The step before had gradients that were not finite.
        runner: Further settings of that section.
    """
    base = {"runner": {**ONE_BATCH["runner"], **runner}}
    sections = _sections(strategy=strategy, update=update, precision=precision, base=base)
    config = steps.settings(**sections)
    batches = steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50)
    made = steps.Setup("tiny", config)
    steps.reset()
    made.step(*batches)
    first, survived, said = steps.device.allocations, 0, set()
    for number in range(1, first, every):
        made = steps.Setup("tiny", config)  # whose optimisers have no state yet
        if overflows:
            steps.device.reads = 2
            made.step(*batches)
            steps.device.reads = 0
        steps.reset()
        steps.device.fail_at, steps.device.again = number, again
        made.step(*batches)
        steps.device.fail_at = steps.device.again = 0
        made.step(*batches)
        counters = made.counters
        good = (2 + overflows, 0, 0)
        survived += (
            counters.step, counters.out_of_memory, counters.nonfinite_in_a_row,
        ) == good  # fmt: skip
        said |= {text.partition(": ")[2] for text in made.said}
    return {"tried": len(range(1, first, every)), "survived": survived, "said": sorted(said)}


def run_out_elsewhere(every: int) -> dict[str, Any]:
    """Let some `every` allocations fail, one at a time, of each that a run does beside its steps.

    What comes then is compared with what comes otherwise.
    """
    from spknorm import predict
    from spknorm.export import export
    from spknorm.features import pooled_features
    from spknorm.schema import UpstreamConfig

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


def long_utterances(seconds: list[float], steps_done: int) -> dict[str, Any]:
    """Do some steps of long utterances and speaker crops with a HuBERT Large."""
    sections = _sections(strategy="TAP", update="relative", precision="bf16", base=ONE_BATCH)
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


def whole_runs(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Train tiny runs from corpora to result.json; return what each computed with, and its log.

    Each of them has the arguments of `tiny_runs.settings_of`, and `checkpoint`: what of a HuBERT
    with two layers is otherwise.
    """
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpora = tiny_runs.make_corpora(folder)
        for number, run in enumerate(runs):
            checkpoint = folder / f"{number}.pt"
            tiny_upstreams.make_hubert(checkpoint, **run.pop("checkpoint", {}))
            device = run.pop("device", "cuda")
            settings = tiny_runs.settings_of(corpora, total_steps=2, **run)
            tiny_runs.train(checkpoint, settings, folder / str(number), device=device)
            result = json.loads((folder / str(number) / "result.json").read_text())
            log = (folder / str(number) / "log.log").read_text().splitlines()
            found.append({"computing": result["computing"], "log": log, "kernels": _attention()})
    return found


def _attention() -> list[str]:
    """Return which fused attention has been launched since this was asked last."""
    names = " ".join(steps.kernels())
    steps.reset()
    return [kind for kind in ("flash_fwd", "fmha_cutlassF") if kind in names]


def second_card() -> dict[str, Any]:
    """Do two steps on cuda:1."""
    torch.cuda.init()
    for generator in torch.cuda.default_generators:
        generator.manual_seed(7)
    generators = [torch.default_generator, *torch.cuda.default_generators]
    sections = _sections(strategy="TAP", update="relative", precision="bf16", base=ONE_BATCH)
    made = steps.Setup("tiny", steps.settings(**sections), card="cuda:1")
    before = [generator.get_state() for generator in generators]
    for _ in range(2):
        made.step(steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50))
    after = [generator.get_state() for generator in generators]
    return {
        "allocated_on_the_first": torch.cuda.memory_allocated(0),
        "done": made.counters.step,
        "generators_as_before": all(map(torch.equal, before, after)),
    }


def _sections(
    *, strategy: str, update: str, precision: str, base: dict[str, Any], **_: Any
) -> dict[str, Any]:
    method = {"strategy": strategy, "update": update}
    if update == "adaptive":
        method["ascent_lr"] = 1e-6
    return {
        **base,
        "runner": {**base.get("runner", {}), "precision": precision, "max_nonfinite": 1000},
        "downstream_expert": {**base.get("downstream_expert", {}), "spknorm": method},
    }


def in_float64() -> list[str]:
    """Return which operations of a step leave float64 on the device, which an Apple GPU has not."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    found: set[str] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, arguments: Any = (), options: Any = None
        ) -> Any:
            made = function(*arguments, **(options or {}))
            for one in tree_leaves(made):
                if isinstance(one, torch.Tensor) and one.is_cuda and one.dtype is torch.float64:
                    found.add(str(function))
            return made

    for update in ("literal", "relative", "adaptive", "reversal"):
        sections = _sections(strategy="TAP", update=update, precision="bf16", base=ONE_BATCH)
        made = steps.Setup("tiny", steps.settings(**sections))
        with Watch():
            made.step(steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50))
        assert made.counters.step == 1
    return sorted(found)


def ordering(
    strategy: str, precision: str, slow: bool, steps_done: int, left_out: str = ""
) -> dict[str, Any]:
    """Return what the log of some steps comes to, by ordering.py.

    Args:
        strategy, precision, steps_done: Of the steps.
        slow: Nothing is over on the device before the host waits for it.
        left_out: `wait_stream` or `record_stream`: is not done.
    """
    sections = _sections(strategy=strategy, update="relative", precision=precision, base=ONE_BATCH)
    made = steps.Setup("tiny", steps.settings(**sections))
    steps.device.slow = int(slow)
    with _without(left_out), _watched() as found:
        for _ in range(steps_done):
            made.step(steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50))
    assert made.counters.step == steps_done
    return found


def copied_ahead(left_out: str = "") -> dict[str, Any]:
    """Return the same of batches that are copied ahead and read, where the host never waits."""
    batches = itertools.repeat(steps.batch([0.5, 0.8]))
    source = UpstreamSource(lambda wavs: list(wavs), device=torch.device("cuda"))
    ahead = Ahead({"emotion": (batches, 1)}, source, torch.device("cuda"))
    with _without(left_out), _watched() as found:
        for _ in range(4):
            [[batch]] = ahead.take()
            torch.cat(source(batch, corpus="emotion")).sum()
            ahead.send()
            del batch
    return found


def trouble_ahead() -> dict[str, Any]:
    """Return what is there of batches that are copied ahead, whatever goes wrong then."""

    def batches() -> Iterator[Batch]:
        for _ in range(6):
            yield steps.batch([0.5, 0.8])
        raise DataError("cannot be read: u2.wav")

    source = UpstreamSource(lambda wavs: list(wavs), device=torch.device("cuda"))
    ahead = Ahead({"emotion": (batches(), 1)}, source, torch.device("cuda"))
    found: dict[str, Any] = {"copied": []}

    def next_one() -> int:
        [taken] = ahead.take()
        return len(taken[0].there)

    assert next_one() == 0  # of the first step nobody knew
    for _ in range(2):
        ahead.send()
        found["copied"].append(next_one())
    torch.cuda.empty_cache()
    steps.reset()
    steps.device.fail_at = steps.device.again = 1  # and the allocator's second attempt
    ahead.send()
    found["memory ran out"] = [next_one()]
    ahead.send()
    found["then again"] = [next_one()]
    ahead.send()
    ahead.drop()
    found["let go"] = [next_one()]
    held = torch.cuda.memory_allocated()
    found["held by a step that ran out"] = held
    ahead.send()
    try:
        ahead.take()
    except DataError as error:
        found["unreadable"] = str(error)
    return found


@contextlib.contextmanager
def _watched() -> Iterator[dict[str, Any]]:
    """Yield what will be told of the streams when this is left."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        with order_of_streams.Watch(Path(name) / "log"):
            yield found
        told = order_of_streams.examined(Path(name) / "log")
        found.update(dataclasses.asdict(told))


def _without(left_out: str) -> Any:
    """Return a context in which a method of torch does nothing."""
    owners = {"wait_stream": torch.cuda.Stream, "record_stream": torch.Tensor}
    if not left_out:
        return contextlib.nullcontext()
    return mock.patch.object(owners[left_out], left_out, lambda *_: None)


def doctor() -> list[str]:
    """Return what the doctor says of the device."""
    from spknorm.doctor.machine import _check_device

    check = _check_device()
    return [check.status, check.detail]


def default() -> str:
    """Return where a command computes if it is not told."""
    from spknorm.config.device import default_device

    return default_device()


def command(arguments: list[str]) -> None:
    """Run spknorm's or, where they begin with a dash, run_downstream.py's command line."""
    from spknorm import cli

    sys.exit((cli.run_downstream if arguments[0].startswith("-") else cli.main)(arguments))


_COMMANDS = ("command", "doctor", "default")


def do(name: str, arguments: dict[str, Any]) -> None:
    """Do one of the tasks above; the last line printed is what it returns."""
    if name in _COMMANDS:
        from spknorm.config import device

        device._driver_is_there = lambda: True  # as where a card is plugged in
        arguments = {**arguments}
        if not arguments.pop("driver", True):
            device._driver_is_there = lambda: False
    else:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
    answer = globals()[name](**arguments)
    sys.stdout.write(json.dumps(answer) + "\n")
