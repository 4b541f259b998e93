"""What the tests ask of the pretended device, each in a process of its own; see server.py."""

import contextlib
import dataclasses
import functools
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import family_tasks
import memory_tasks
import steps
import stream_tasks
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny_runs
import tiny_upstreams

from spknorm.errors import ConfigError
from spknorm.method.optim.ascent import Ascent
from spknorm.method.optim.precision import precision_of


def count(
    shape: str,
    combinations: list[dict[str, str]],
    emotion: list[float],
    speaker: list[float],
    **sections: Any,
) -> list[dict[str, Any]]:
    """Count the third step of each combination of strategy, update and precision.

    In the second, layers are recorded as CUDA graphs.
    """
    found = []
    for one in combinations:
        sections = steps.sections(**one, base=sections)
        made = steps.Setup(shape, steps.settings(**sections), cached=one.get("cached", False))
        steps.device.reads = int(one.get("reads", 1))
        batches = steps.batch(emotion), steps.batch(speaker, classes=50)
        for _ in range(2):
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


def whole_runs(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Train tiny runs from corpora to result.json; return what each computed with, and its log.

    Each of them has the arguments of `tiny_runs.settings_of`, and `checkpoint`: what of a HuBERT
    with two layers is otherwise, or `wavlm`.
    """
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpora = tiny_runs.make_corpora(folder)
        for number, run in enumerate(runs):
            checkpoint = folder / f"{number}.pt"
            if run.pop("wavlm", False):
                tiny_upstreams.make_wavlm(checkpoint, gated=True)
                flags = {"upstream": "wavlm_local"}
            else:
                tiny_upstreams.make_hubert(checkpoint, **run.pop("checkpoint", {}))
                flags = {"upstream": "hubert_local"}
            device = run.pop("device", "cuda")
            settings = tiny_runs.settings_of(corpora, total_steps=2, **run)
            tiny_runs.train(checkpoint, settings, folder / str(number), device=device, **flags)
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
    sections = steps.sections(
        strategy="TAP", update="relative", precision="bf16", base=steps.ONE_BATCH
    )
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


def in_float64(commands: list[str]) -> dict[str, list[str]]:
    """Return which operations leave float64 on the device, which an Apple GPU has not.

    Args:
        commands: Of `memory_tasks.Commands`, beside steps of every update.
    """
    found = {}
    for update in ("literal", "relative", "adaptive", "reversal"):
        sections = steps.sections(strategy="TAP", update=update, precision="bf16")
        made = steps.Setup("tiny", steps.settings(**sections))
        with _Float64() as watch:
            made.step(steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50))
        assert made.counters.step == 1
        found[update] = sorted(watch.found)
    with tempfile.TemporaryDirectory() as name:
        user = memory_tasks.Commands(Path(name))
        for command in commands:
            with _Float64() as watch:
                told = user.do(command)
            assert told == "", told
            assert watch.seen, command
            found[command] = sorted(watch.found)
    return found


def neither_cpu_nor_cuda() -> list[list[Any]]:
    """Do steps where the device is neither, as an Apple GPU; return what each came to.

    It is torch's `meta`, which computes nothing: what is read of it is 1.
    """
    found: list[list[Any]] = []
    updates = [("TAP", update) for update in ("relative", "literal", "adaptive", "reversal")]
    for strategy, update in (("none", "literal"), ("SNP", "relative"), *updates):
        sections = steps.sections(strategy=strategy, update=update, precision="auto")
        made = steps.Setup("tiny", steps.settings(**sections), card="meta")
        with _Float64("meta") as watch, _read_as_ones():
            for _ in range(2):
                made.step(steps.batch([0.5, 0.8]), steps.batch([0.7, 0.7], classes=50))
        attention = sorted(made.iteration._pieces._source.encoder.attention)
        found.append([made.counters.step, sorted(watch.found), attention])
    return found


@contextlib.contextmanager
def _read_as_ones() -> Iterator[None]:
    """Let all that is read of a device be 1, and no comparison of ascents be made."""

    def read(tensors: Any) -> list[Any]:
        return [torch.ones(tensor.shape).tolist() for tensor in tensors]

    with (
        mock.patch("torch.is_autocast_enabled", lambda _: False),  # of which meta has none
        mock.patch("spknorm.runner.passes.ask", lambda tensors: functools.partial(read, tensors)),
        mock.patch("spknorm.method.optim.clipping.read", read),
        mock.patch("spknorm.method.updates.compare_steps", lambda *_, **__: Ascent()),
        mock.patch("spknorm.method.updates.compare_gradients", lambda *_, **__: Ascent()),
    ):
        yield


class _Float64(TorchDispatchMode):
    """Collects operations whose result is float64 on the device, and counts all of the device's."""

    def __init__(self, kind: str = "cuda") -> None:
        super().__init__()
        self._kind = kind
        self.found: set[str] = set()
        self.seen = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """Do an operation."""
        made = function(*arguments, **(options or {}))
        tensors = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        there = [one for one in tensors if one.device.type == self._kind]
        self.seen += len(there)
        self.found |= {str(function) for one in there if one.dtype is torch.float64}
        return made


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
    rooms = memory_tasks, stream_tasks, family_tasks
    known = {name: task for room in rooms for name, task in vars(room).items()} | globals()
    answer = known[name](**arguments)
    sys.stdout.write(json.dumps(answer) + "\n")
