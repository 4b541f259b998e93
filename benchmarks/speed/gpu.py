"""The first hour on a GPU: what docs/performance.md cannot say without one, each part by itself.

A part that breaks off is told in the result and does not keep the others from being measured.
HuBERT Large and Base of random weights; batches of 32 utterances; all but s3prl in bfloat16.
"""

import collections
import re
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from speed import gpu_checks, watches
from speed.gpu_world import World as _World
from speed.gpu_world import synced
from speed.loops import stock_loop, transformers_loop
from speed.measure import Figure, matrix_rate, median, now, summary
from speed.relay import Leg, Tick
from speed.world import Corpus, useful_flops
from spknorm.config.device import reason_unusable
from spknorm.errors import is_out_of_memory

STRATEGIES = ("none", "SNP", "TAP")
STEPS = ("none", "TAP")
"""Of which more is told."""
_EPOCHS = 4
"""Before batches of lengths that vary are timed."""
SIZES = (32, 16, 8)
"""Utterances of a batch: the next of them where the memory of all contenders is short."""


def reason_unmeasurable() -> str | None:
    """Return why nothing can be measured here; None on a machine with a GPU."""
    if torch.cuda.is_available():
        return None
    return reason_unusable() or "there is no GPU"


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield all figures of a GPU, and how long each part took; or say that there is none."""
    reason = reason_unmeasurable()
    if reason is not None:
        yield Figure("everything on a GPU", None, note=reason)
        return
    begun = now()
    worlds = [_World.make(folder, name, quick=quick) for name in ("Large", "Base")]
    yield _took("upstreams and corpora", begun)
    rate = matrix_rate(torch.bfloat16, device="cuda", size=64 if quick else 0)
    yield Figure("bfloat16 matrix rate", rate / 1e12, unit="TFLOP/s")
    for world in worlds:
        yield from _guarded(f"{world.name}, one batch", partial(_one_batch, world, rate))
        yield from _guarded(f"{world.name}, lengths that vary", partial(_varying, world))
    for world in worlds:
        yield from _guarded(f"{world.name}, resumed", partial(_resumed, world))
    yield from _guarded("features and probe", partial(_features, worlds[-1]))
    if not quick:  # last, so that what is cut off lacks these
        large, base = worlds
        yield from _guarded("Large, compiled", partial(_compiled, large, "none"))
        yield from _guarded("Base, compiled", partial(_compiled, base, "TAP", varied=True))
    yield _took("all figures of a GPU", begun, 1200.0)


def _took(name: str, begun: float, target: float | None = None) -> Figure:
    return Figure(f"{name}, measured in", now() - begun, target, at_least=False, unit="s")


def _guarded(name: str, part: Callable[[], Iterator[Figure]]) -> Iterator[Figure]:
    begun = now()
    try:
        yield from part()
    except Exception as error:
        details = {"traceback": traceback.format_exc()}
        yield Figure(name, None, note=_what_broke(error), details=details)
    yield _took(name, begun)


def _what_broke(error: Exception) -> str:
    """Return the line that says what: of a loop's traceback the last that names an error.

    Below it CUDA's errors have advice on debugging.
    """
    told = str(error).strip().splitlines() or [type(error).__name__]
    named = [line for line in told if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return named[-1] if named else told[0]


class _Fixed(NamedTuple):
    """What was seen of steps on one batch.

    Attributes:
        size: Utterances of the batch, which fit all contenders.
        set_up: Seconds to the first step of each, all at the same time.
        peers: Seconds of s3prl, transformers and none, in turns.
        own: Of none, with activations recomputed, and TAP.
        profiles: Of steps of none and TAP, see `watches.seen`.
        peaks: GB of GPU memory.
    """

    size: int
    set_up: dict[str, float]
    peers: dict[str, list[float]]
    own: dict[str, list[float]]
    profiles: dict[str, list[dict[str, Any]]]
    peaks: dict[str, float]


def _one_batch(world: _World, rate: float) -> Iterator[Figure]:
    """Compare steps on a batch: s3prl in float32, transformers' Trainer, and this project."""
    large = world.name == "Large"
    found = _in_turns(world)
    middle = {name: median(values) for name, values in found.peers.items()}
    own = {name: median(values) for name, values in found.own.items()}
    lengths = f"{world.lengths[0]:g} to {world.lengths[-1]:g} s"
    note = f"{found.size} utterances of {lengths}, front end cached"
    yield Figure(
        f"{world.name}, bfloat16, over stock s3prl in float32",
        middle["s3prl"] / middle["none"], 6.0 if large else None, note=note,
        details={**summary(found.peers), "set_up_s": found.set_up},
    )  # fmt: skip
    yield Figure(
        f"{world.name}, bfloat16, over transformers' Trainer in bfloat16",
        middle["transformers"] / middle["none"], 1.5, note=note,
    )  # fmt: skip
    flops = useful_flops(world.shape, world.spread(world.lengths, found.size))[1]
    yield Figure(
        f"{world.name}, useful FLOPs over the bfloat16 matrix rate",
        flops / middle["none"] / rate, 0.45 if large else None, unit="of the rate", note=note,
    )  # fmt: skip
    yield Figure(
        f"{world.name}, TAP, useful FLOPs over the bfloat16 matrix rate",
        2 * flops / own["TAP"] / rate, unit="of the rate", note=f"the same batch twice: {note}",
    )  # fmt: skip
    for name in STEPS:
        yield Figure(
            f"{world.name}, a step of {name}", 1e3 * own[name], at_least=False, unit="ms",
            note=note, details=summary({name: found.own[name]}),
        )  # fmt: skip
        yield from _profiled(f"{world.name}, {name}", found.profiles[name], 1e3 * own[name])
    yield Figure(
        f"{world.name}, TAP iteration over the emotion-only step", own["TAP"] / own["none"],
        2.05, at_least=False, note=note,
    )  # fmt: skip
    for name, target in {
        "none": 24.0 if large else None, "TAP": None, "s3prl": None, "transformers": None
    }.items():  # fmt: skip
        yield Figure(
            f"{world.name}, peak GPU memory, {name}", found.peaks[name], target, at_least=False,
            unit="GB",
        )  # fmt: skip
    yield Figure(
        f"{world.name}, peak GPU memory with activations recomputed", found.peaks["recomputed"],
        12.0 if large else None, at_least=False, unit="GB",
    )  # fmt: skip
    yield Figure(
        f"{world.name}, activations recomputed, over the plain step",
        own["recomputed"] / own["none"], at_least=False,
        details=summary({"recomputed": found.own["recomputed"]}),
    )  # fmt: skip


def _in_turns(world: _World) -> _Fixed:
    """Let the contenders take turns on one batch, of a size that fits them all."""
    sizes = [size for size in SIZES if size <= len(world.batch)] or [len(world.batch)]
    for size in sizes:
        fewer = world._replace(batch=world.spread(world.batch, size))
        common: dict[str, Any] = {"batch": fewer.batch, "device": "cuda"}
        relay = world.relay()
        stock = partial(stock_loop, world.ckpt, world.fixed, batch_size=size, **common)
        trainer = partial(_trainer_loop, world.fixed, shape=world.shape, precision="bf16", **common)
        try:
            peers, own, profiles = relay.run_legs(
                {
                    "s3prl": partial(synced, stock),
                    "transformers": partial(synced, trainer),
                    "none": fewer.ours("none"),
                    "recomputed": fewer.ours("none", checkpoint_activations=True),
                    "TAP": fewer.ours("TAP"),
                },
                [
                    world.leg("s3prl", "transformers", "none"),
                    world.leg("none", "recomputed", "TAP"),
                    Leg(STEPS, 3, watches.profile),
                ],
            )
        except RuntimeError as error:
            if not is_out_of_memory(error) or size == sizes[-1]:
                raise
        else:
            return _Fixed(
                size, relay.set_up, world.timed(peers), world.timed(own), profiles, relay.peaks
            )
    raise AssertionError("the last size returns or raises")


def _trainer_loop(corpus: Corpus, tick: Tick, *, batch: list[int], **options: Any) -> None:
    transformers_loop(corpus, batch, tick, **options)


def _profiled(name: str, profiles: list[dict[str, Any]], step: float) -> Iterator[Figure]:
    """Tell what the profiler saw of a step that takes `step` ms without it."""
    seen = profiles[-1]  # by then the profiler itself is warm
    if not seen["kernels"]:
        yield Figure(f"{name}, kernels of a step", None, note="the profiler saw none")
        return
    share = seen["device_ms"] / step
    yield Figure(
        f"{name}, kernels of a step", seen["kernels"], 4000.0, at_least=False, unit="",
        note=f"and {seen['copies']} copies and fillings",
    )  # fmt: skip
    yield Figure(
        f"{name}, device time of a step", seen["device_ms"], at_least=False, unit="ms",
        note=f"the device is busy in {share:.0%} of the step",
        details={"busy": round(share, 4), "steps_ms": [p["device_ms"] for p in profiles]},
    )  # fmt: skip
    yield Figure(
        f"{name}, host time of a step", seen["host_ms"], at_least=False, unit="ms",
        note="under the profiler, without the calls in which the host waits or copies",
        details={"steps_ms": [p["host_ms"] for p in profiles]},
    )  # fmt: skip
    kinds = seen["kinds"]
    yield Figure(
        f"{name}, matrix products in the device time of a step",
        kinds["matrix products"] / sum(kinds.values()), unit="of it",
        note="by the names of kernels: "
        + ", ".join(f"{kind} {taken:.1f} ms" for kind, taken in kinds.items()),
        details=kinds,
    )  # fmt: skip


def _varying(world: _World) -> Iterator[Figure]:
    """Compare the strategies on batches that are drawn, as a run draws them, and count waits."""
    epoch = -(-len(world.varied.seconds) // len(world.batch))
    relay = world.relay()
    loops = {name: world.ours(name, varied=True, cache=name) for name in STRATEGIES}
    legs: list[Leg] = []
    for name in STRATEGIES:  # each has the memory for itself, as it has in a run
        legs += [world.leg(name, warmup=_EPOCHS * epoch), Leg((name,), 3, watches.waits)]
    found = relay.run_legs(loops, legs)
    every, waits = (dict(collections.ChainMap(*found[start::2])) for start in (0, 1))
    times = world.timed(every)
    middle = {name: median(values) for name, values in times.items()}
    mean = sum(world.varied.seconds) / len(world.varied.seconds) * len(world.batch)
    for name in STRATEGIES:
        yield Figure(
            f"{world.name}, lengths that vary, {name}, seconds of emotion audio per second",
            mean / middle[name], unit="s/s", details=summary({name: times[name]}),
            note=f"after {_EPOCHS} epochs, in which shapes of batches are recorded",
        )  # fmt: skip
        first = every[name][:epoch]
        yield Figure(
            f"{world.name}, lengths that vary, {name}, first epoch, "
            "seconds of emotion audio per second",
            mean * len(first) / sum(first), unit="s/s", details=summary({name: first}),
            note=f"{len(first)} steps, in which the GPU warms up; set up before, with the front "
            f"ends of all utterances, in {relay.set_up[name]:.1f} s",
        )  # fmt: skip
        yield Figure(
            f"{world.name}, lengths that vary, {name}, peak GPU memory", relay.peaks[name],
            unit="GB",
        )  # fmt: skip
        counts = [len(told) for told in waits[name]]
        yield Figure(
            f"{world.name}, waits of a step, {name}", max(counts), 3, at_least=False, unit="",
            note=f"by torch.cuda.set_sync_debug_mode; steps: {counts}",
        )  # fmt: skip
    for name, target in (("SNP", 1.5), ("TAP", 2.05)):
        yield Figure(
            f"{world.name}, lengths that vary, {name} iteration over the emotion-only step",
            middle[name] / middle["none"], target, at_least=False,
        )  # fmt: skip


def _resumed(world: _World) -> Iterator[Figure]:
    """Compare the weights of a run with those of the same run in two parts."""
    ways = {True: "with deterministic algorithms", False: "without them"}
    every = world.apart(
        *(
            partial(
                gpu_checks.differing_after_resuming, world.ckpt, world.varied,
                cache=world.cache / f"exact-{exact}", batch_size=min(8, len(world.batch)),
                exact=exact,
            )
            for exact in ways
        )
    )  # fmt: skip
    for (exact, how), (differing, tensors) in zip(ways.items(), every, strict=True):
        yield Figure(
            f"{world.name}, tensors that differ in a resumed TAP run, {how}", differing,
            0 if exact else None, at_least=False, unit=f"of {tensors}",
        )  # fmt: skip


def _features(world: _World) -> Iterator[Figure]:
    """Time the features of a frozen upstream, and a probe on them."""
    call = partial(gpu_checks.features_and_probe, world.ckpt, world.varied)
    [(seconds, rate, probe)] = world.apart(call)
    yield Figure(
        f"features of a frozen HuBERT {world.name}, seconds of audio per second", rate, unit="s/s",
        note=f"{len(world.varied.seconds)} utterances of {sum(world.varied.seconds):.0f} s in all, "
        f"none cached before, in {seconds:.2f} s, float32",
    )  # fmt: skip
    yield Figure("a linear speaker probe on them", probe, unit="s", note="on the CPU")


def _compiled(world: _World, strategy: str, *, varied: bool = False) -> Iterator[Figure]:
    """Time `upstream.compile` once its compilation is done."""
    ours = partial(world.ours, strategy, varied=varied)
    loops = {"plain": ours(), "compiled": ours(compile=True)}
    warmup = 20 if varied else 4
    [every] = world.relay().run_legs(loops, [world.leg(*loops, warmup=warmup)])
    times = world.timed(every)
    middle = {name: median(values) for name, values in times.items()}
    name = f"{world.name}, {strategy} step"
    yield Figure(
        f"{name}, upstream.compile, over the plain one",
        middle["compiled"] / middle["plain"], at_least=False, details=summary(times),
        note=f"lengths that {'vary' if varied else 'stay'}, after {warmup} steps",
    )  # fmt: skip
    yield Figure(
        f"{name}, what upstream.compile takes at first",
        sum(every["compiled"][:warmup]) - sum(every["plain"][:warmup]), unit="s",
        at_least=False, note=f"{warmup} steps over plain ones",
    )  # fmt: skip
