"""Counts a step of the commit before this work, 3532b1f, on the pretended device; see counted.py.

Run on it with that commit's tree in front of the path; the argument is JSON: what `tasks.count` of
tests/device takes. tests/device/steps.py puts the iteration together, as it does today's: what has
another name or place since is given to it here.
"""

import dataclasses
import functools
import importlib
import json
import logging
import sys
import types
import warnings
from typing import Any

import torch

_SINCE = {
    "spknorm.upstreams.fast": ("spknorm.fast", ("make_encoder",)),
    "spknorm.method.optim.world": ("spknorm.runner.distributed", ("World",)),
    "spknorm.runs.state": ("spknorm.runner.state", ("Counters",)),
}
_NEW = {
    "spknorm.features.ahead": ("Ahead",),
    "spknorm.runs.instrument": ("Start",),
    "spknorm.statistics.targets": ("Classes",),
}


def main() -> None:
    """Count what is asked for, print it."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    importlib.import_module("spknorm.compat")
    for name, (old, wanted) in _SINCE.items():
        module = importlib.import_module(old)
        _put(name, {one: getattr(module, one) for one in wanted})
    model = importlib.import_module("spknorm.model")
    _put("spknorm.method.model", {"make_heads": functools.partial(_heads, model)})
    sources = importlib.import_module("spknorm.runner.sources")
    _put("spknorm.features.sources", {"Source": functools.partial(_source, sources)})
    for name, wanted in _NEW.items():
        _put(name, {one: lambda *_: None for one in wanted})
    features: Any = importlib.import_module("spknorm.features")
    features.Kept = lambda store, keys, **_: (store, keys)
    steps: Any = importlib.import_module("steps")
    steps.Iteration = _iteration(steps.Iteration)
    steps._front_ends = functools.partial(_front_ends, features.FrontEnds, steps._front_ends)
    asked = json.loads(sys.argv[1])
    found = [_count(steps, one, **asked) for one in asked.pop("combinations")]
    sys.stdout.write(json.dumps(found) + "\n")


def _count(
    steps: Any, one: dict[str, Any], *, emotion: list[float], speaker: list[float], **sections: Any
) -> dict[str, Any]:
    """Count the second step."""
    run = {**sections.pop("runner"), "precision": one["precision"], "max_nonfinite": 1000}
    method = {"strategy": one["strategy"], "update": one["update"]}
    config = steps.settings(runner=run, downstream_expert={"spknorm": method}, **sections)
    made = steps.Setup("large", config, cached=True)
    made.iteration.update._clipping = -1.0  # norms are read as 0, and are clipped all the same
    each = run["gradient_accumulate_steps"]
    heard = steps.batch(emotion)
    heard = heard._replace(wavs=[], ids=[str(len(wav)) for wav in heard.wavs])
    spoken = [steps.batch(speaker[::each], classes=50)] * each  # its way: as many micro-batches
    for _ in range(2):
        steps.reset()
        made.iteration([heard] * each, spoken if one["strategy"] != "none" else [])
    return {"done": made.counters.step, **dataclasses.asdict(steps.asked())}


def _heads(old: Any, config: Any, upstream_dim: int, **counts: int) -> Any:
    options = dataclasses.asdict(config.modelrc)
    kept = {name: options[name] for name in ("projector_dim", "select", "gate", "speaker_head")}
    chosen = options[options["select"]]
    strategy = config.spknorm.strategy
    return old.Heads(upstream_dim, strategy=strategy, select_options=chosen, **kept, **counts)


def _iteration(old: type) -> Any:
    def make(expert: Any, *arguments: Any, modules: Any, start: Any, **options: Any) -> Any:
        expert.modules = expert.heads.modules
        return old(expert, *arguments, seed=expert.seed, **options)

    return make


def _source(old: Any, encode: Any, *, device: Any, kept: Any = None) -> Any:
    made = old.UpstreamSource(encode, device=device)
    return made if kept is None else old.CachedSource(kept["emotion"], {"emotion": "emotion"}, made)


def _front_ends(old: Any, now: Any, encode: Any, config: Any, device: Any) -> Any:
    made = old(encode, torch.nn.Identity(), config=config.upstream, device=device)
    store, keys = now(encode, config, device)
    made._keys["emotion"] = types.SimpleNamespace(store=store), keys
    if config.runner.precision != "bf16":
        made._readers = [made._keys["emotion"][0]]  # whose arrays are not halved ones
    return made


def _put(name: str, content: dict[str, Any]) -> None:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module


if __name__ == "__main__":
    main()
