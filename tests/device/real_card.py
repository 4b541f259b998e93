"""What test_real_card.py asks of a real card, in a process that sees it; prints JSON lines.

`python real_card.py cpu` asks the CPU what can be asked of it, by the same code.
"""

import functools
import json
import logging
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tiny_runs
import torch
from audit_benches import quicken
from speed import gpu_checks, watches
from speed.loops import our_loop, our_runner
from speed.relay import Leg, OneByOne
from speed.world import Corpus, make_corpus, make_hubert
from tiny_upstreams import featurizer_of
from torch import Tensor
from torch.nn import functional

from spknorm import predict
from spknorm.export import export
from spknorm.probe.audit import audit
from spknorm.schema import UpstreamConfig
from spknorm.upstreams.fast import PackedEncoder, make_encoder
from spknorm.upstreams.fast.blocks import convolve_blocks

SHAPE = {"layers": 2, "dim": 256, "ffn": 1024, "heads": 4, "dropout": 0.0, "large": True}
"""HuBERT Large, smaller: heads of 64, layer norms first, no dropout."""


class World(NamedTuple):
    """What a check works with: an upstream, corpora, a folder for runs, and where it computes."""

    ckpt: Path
    corpus: Corpus
    folder: Path
    device: str


def features(world: World) -> dict[str, Any]:
    """Compare packed features in bfloat16 with those in float32 on the CPU."""
    from s3prl.upstream.hubert.expert import UpstreamExpert

    upstream = UpstreamExpert(str(world.ckpt)).eval()
    featurizer = featurizer_of(upstream)
    generator = np.random.default_rng(0)
    wavs = [
        torch.from_numpy(generator.standard_normal(int(16000 * length)).astype("float32"))
        for length in (0.5, 1.3, 0.8)
    ]

    def encode(device: str, *, lower: bool) -> Tensor:
        encoder = make_encoder(upstream.to(device), featurizer, UpstreamConfig(cache="off"))
        assert isinstance(encoder, PackedEncoder)
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=lower):
            found = encoder([wav.to(device) for wav in wavs])
        return torch.cat(found).float().cpu()

    exact, rounded = encode("cpu", lower=False), encode(world.device, lower=True)
    error = (rounded - exact).norm() / exact.norm()
    return {"error": float(error), "shape": list(rounded.shape)}


def convolution(world: World) -> dict[str, dict[str, float]]:
    """Return how far the positional convolution and its gradients are from those in float64.

    Ours, as products of blocks, and torch's own, both of bfloat16; the size is HuBERT Large's.
    """
    channels, groups, width, lengths = 1024, 16, 128, [201, 66, 333, 1]
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).bfloat16().to(world.device)

    inputs = drawn(sum(lengths), channels), drawn(channels, channels // groups, width)
    direction = drawn(sum(lengths), channels)

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        parts = [
            functional.conv1d(part.T[None], weight, padding=width // 2, groups=groups)[0].T
            for part in x.split(lengths)
        ]
        return torch.cat([y[:size] for y, size in zip(parts, lengths, strict=True)])

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return convolve_blocks(x, lengths, weight)

    def outcome(convolve: Any, *dtypes: torch.dtype) -> list[Tensor]:
        x, weight = (
            one.to(dtype).requires_grad_() for one, dtype in zip(inputs, dtypes, strict=True)
        )
        y = convolve(x, weight)
        return [y.detach(), *torch.autograd.grad(y, (x, weight), direction.to(y.dtype))]

    exact = outcome(plain, torch.float64, torch.float64)
    found = {
        "ours": outcome(ours, torch.bfloat16, torch.float32),  # as the module's weight is
        "torch's": outcome(plain, torch.bfloat16, torch.bfloat16),
    }
    return {
        whose: {
            name: float((one.double() - right).norm() / right.norm())
            for name, one, right in zip(("y", "x", "weight"), made, exact, strict=True)
        }
        for whose, made in found.items()
    }


def commands(world: World) -> dict[str, Any]:
    """Train a run, predict with it, export it and audit it, here and on the CPU."""
    from s3prl import hub

    corpora = tiny_runs.make_corpora(world.folder / "corpora")
    settings = tiny_runs.settings_of(
        corpora, update="relative", precision="auto", total_steps=4,
        method={"speaker_pretrain_steps": 2, "held_out_every": 1},
    )  # fmt: skip
    run = world.folder / "run"
    tiny_runs.train(world.ckpt, settings, run, device=world.device)
    wav = 0.1 * np.random.default_rng(0).standard_normal(24000).astype("float32")
    exported = export(run, world.folder / "export", onnx=True)
    told, states, rows = [], [], []
    for device in dict.fromkeys((world.device, "cpu")):
        predictor = predict.load(run, device=device)
        told.append([*predictor.predict(wav, 16000).values()])
        back = hub.spknorm_hugging_face(ckpt=str(exported.folder)).to(device).eval()
        with torch.no_grad():
            states.append(back([torch.from_numpy(wav).to(device)])["last_hidden_state"].cpu())
        copied = Path(shutil.copytree(run, world.folder / f"audited {device}"))
        with pytest.MonkeyPatch.context() as patch:
            quicken(patch)
            rows.append(audit(copied, device=device, every_layer=True))
    kinds = [[(row.stage, row.corpus, row.probe, row.layer, row.n) for row in one] for one in rows]
    return {
        "predicted": told,
        "states": float((states[0] - states[-1]).norm() / states[-1].norm()),
        "files": sorted(path.name for path in exported.folder.iterdir()),
        "rows": len(kinds[0]),
        "the same rows": kinds[0] == kinds[-1],
        "accuracies": [row.accuracy for row in rows[0]],
    }


def step(world: World) -> dict[str, Any]:
    """Return how many of the upstream's trained weights a step of TAP moves, and of how many."""
    ckpt, corpus, folder, device = world
    runner = our_runner(
        ckpt, corpus, strategy="TAP", cache=folder / "cache", batch_size=8, precision="auto",
        device=device, runner={"total_steps": 1}, expdir=folder / "step",
    )  # fmt: skip
    kept = {
        name: weight.detach().cpu().clone()
        for name, weight in runner.upstream.model.named_parameters()
        if "encoder.layers" in name
    }
    runner.train()
    after = dict(runner.upstream.model.named_parameters())
    moved = [not torch.equal(after[name].detach().cpu(), weight) for name, weight in kept.items()]
    finite = all(bool(weight.isfinite().all()) for weight in after.values())
    return {"moved": sum(moved), "of": len(moved), "finite": finite}


def waits(world: World) -> list[list[str]]:
    """Return at which operations the host waited in each of three steps of TAP."""
    loop = functools.partial(
        our_loop, world.ckpt, world.corpus, strategy="TAP", cache=world.folder / "cache",
        batch_size=8, precision="auto", device=world.device,
    )  # fmt: skip
    legs = [Leg(("TAP",), 3), Leg(("TAP",), 3, watches.waits)]
    found: list[list[str]] = OneByOne().run_legs({"TAP": loop}, legs)[1]["TAP"]
    return found


def resumed(world: World) -> list[int]:
    """Return how many tensors of a resumed run differ from the whole one's, and of how many."""
    return list(
        gpu_checks.differing_after_resuming(
            world.ckpt, world.corpus, cache=world.folder / "cache", batch_size=8, exact=True
        )
    )


def graphs(world: World) -> dict[str, Any]:
    """Compare passes of layers that are recorded with the same before they are, with dropout."""
    from s3prl.upstream.hubert.expert import UpstreamExpert

    upstream, device = UpstreamExpert(str(world.ckpt)), world.device
    featurizer = featurizer_of(upstream)
    encoder = make_encoder(upstream.to(device), featurizer, UpstreamConfig(cache="off"))
    assert isinstance(encoder, PackedEncoder)
    upstream.train()
    for module in upstream.modules():
        if isinstance(module, torch.nn.Dropout) or type(module).__name__ == "FairseqDropout":
            module.p = 0.1
    weights = [one for one in upstream.parameters() if one.requires_grad]

    def features(seconds: tuple[float, ...], seed: int) -> Tensor:
        torch.manual_seed(seed)
        wavs = [torch.randn(int(16000 * length), device=device) for length in seconds]
        with torch.autocast(device, torch.bfloat16):
            return torch.cat(encoder(wavs))

    def gradients(*losses: Tensor) -> list[Tensor]:
        for weight in weights:
            weight.grad = None
        torch.stack([one.float().square().sum() for one in losses]).sum().backward()
        return [w.grad.clone() for w in weights if w.grad is not None]

    def furthest(ours: list[Tensor], right: list[Tensor]) -> float:
        return max(
            float((one - other).norm() / other.norm())
            for one, other in zip(ours, right, strict=True) if float(other.norm()) > 1e-3
        )  # fmt: skip

    short, long, fewer = (0.5, 1.3, 0.8), (2.1, 1.7), (2.0, 1.7)
    found: dict[str, Any] = {}
    before = features(fewer, 3)
    of_fewer = gradients(before)
    for name, seconds in {"short": short, "long": long}.items():
        passes = [(x, gradients(x)) for x in (features(seconds, 3) for _ in range(4))]
        (first, right), *others = passes
        found[f"{name}, the same"] = [torch.equal(x, first) for x, _ in others]
        found[f"{name}, furthest"] = [furthest(own, right) for _, own in others]
    found["recorded"] = encoder.graphs.recorded
    after = features(fewer, 3)  # as wide as the long ones
    found["fewer"] = [torch.equal(after, before), furthest(gradients(after), of_fewer)]
    apart = [gradients(features(seconds, 3)) for seconds in (short, long)]
    both = [one + other for one, other in zip(*apart, strict=True)]
    found["at once"] = furthest(gradients(features(short, 3), features(long, 3)), both)
    first = features(short, 3)
    gradients(first)
    features(long, 3).float().square().sum().backward()
    found["one after the other"] = furthest([w.grad for w in weights if w.grad is not None], both)
    with torch.no_grad():
        found["without gradients"] = all(torch.equal(features(short, 3), first) for _ in range(3))
    return found


CHECKS = {
    "cpu": (features, convolution, step, commands, graphs),
    "cuda": (features, convolution, step, waits, commands, graphs, resumed),
}


def main(device: str = "cuda") -> None:
    """Do each check, whatever comes of the others."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic products ask for it
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = make_corpus(folder / "corpus", [0.5 + place % 7 / 10 for place in range(80)])
        ckpt = make_hubert(folder / "hubert.pt", SHAPE)
        for check in CHECKS[device]:
            found: dict[str, Any] = {"check": check.__name__}
            try:
                found["answer"] = check(World(ckpt, corpus, folder, device))
            except Exception:
                found["error"] = traceback.format_exc()
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
