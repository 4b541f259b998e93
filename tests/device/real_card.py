"""What test_real_card.py asks of a real card, in a process that sees it; prints JSON lines."""

import functools
import json
import logging
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import gpu_checks, watches
from speed.loops import our_loop, our_runner
from speed.relay import Leg, OneByOne
from speed.world import Corpus, make_corpus, make_hubert
from tiny_upstreams import featurizer_of

from spknorm.schema import UpstreamConfig
from spknorm.upstreams.fast import PackedEncoder, make_encoder

SHAPE = {"layers": 2, "dim": 256, "ffn": 1024, "heads": 4, "dropout": 0.0, "large": True}
"""HuBERT Large, smaller: heads of 64, layer norms first, no dropout."""


def features(ckpt: Path, corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Compare packed features in bfloat16 with those in float32 on the CPU."""
    from s3prl.upstream.hubert.expert import UpstreamExpert

    upstream = UpstreamExpert(str(ckpt)).eval()
    featurizer = featurizer_of(upstream)
    generator = np.random.default_rng(0)
    wavs = [
        torch.from_numpy(generator.standard_normal(int(16000 * length)).astype("float32"))
        for length in (0.5, 1.3, 0.8)
    ]

    def encode(device: str) -> torch.Tensor:
        encoder = make_encoder(upstream.to(device), featurizer, UpstreamConfig(cache="off"))
        assert isinstance(encoder, PackedEncoder)
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
            found = encoder([wav.to(device) for wav in wavs])
        return torch.cat(found).float().cpu()

    exact, rounded = encode("cpu"), encode("cuda")
    error = (rounded - exact).norm() / exact.norm()
    return {"error": float(error), "shape": list(rounded.shape)}


def step(ckpt: Path, corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Return how many of the upstream's trained weights a step of TAP moves, and of how many."""
    runner = our_runner(
        ckpt, corpus, strategy="TAP", cache=folder / "cache", batch_size=8, precision="auto",
        device="cuda", runner={"total_steps": 1}, expdir=folder / "step",
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


def waits(ckpt: Path, corpus: Corpus, folder: Path) -> list[list[str]]:
    """Return at which operations the host waited in each of three steps of TAP."""

    loop = functools.partial(
        our_loop, ckpt, corpus, strategy="TAP", cache=folder / "cache", batch_size=8,
        precision="auto", device="cuda",
    )  # fmt: skip
    legs = [Leg(("TAP",), 3), Leg(("TAP",), 3, watches.waits)]
    found: list[list[str]] = OneByOne().run_legs({"TAP": loop}, legs)[1]["TAP"]
    return found


def resumed(ckpt: Path, corpus: Corpus, folder: Path) -> list[int]:
    """Return how many tensors of a resumed run differ from the whole one's, and of how many."""
    return list(
        gpu_checks.differing_after_resuming(
            ckpt, corpus, cache=folder / "cache", batch_size=8, exact=True
        )
    )


def graphs(ckpt: Path, corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Compare passes of layers that are recorded with the same before they are, with dropout."""
    from s3prl.upstream.hubert.expert import UpstreamExpert

    upstream = UpstreamExpert(str(ckpt))
    featurizer = featurizer_of(upstream)
    encoder = make_encoder(upstream.to("cuda"), featurizer, UpstreamConfig(cache="off"))
    assert isinstance(encoder, PackedEncoder)
    upstream.train()
    for module in upstream.modules():
        if isinstance(module, torch.nn.Dropout) or type(module).__name__ == "FairseqDropout":
            module.p = 0.1
    weights = [one for one in upstream.parameters() if one.requires_grad]

    def features(seconds: tuple[float, ...], seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        wavs = [torch.randn(int(16000 * length), device="cuda") for length in seconds]
        with torch.autocast("cuda", torch.bfloat16):
            return torch.cat(encoder(wavs))

    def gradients(*losses: torch.Tensor) -> list[torch.Tensor]:
        for weight in weights:
            weight.grad = None
        torch.stack([one.float().square().sum() for one in losses]).sum().backward()
        return [w.grad.clone() for w in weights if w.grad is not None]

    def furthest(ours: list[torch.Tensor], right: list[torch.Tensor]) -> float:
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
    found["recorded"] = encoder.recorded
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


def main() -> None:
    """Do each check, whatever comes of the others."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic products ask for it
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = make_corpus(folder / "corpus", [0.5 + place % 7 / 10 for place in range(80)])
        ckpt = make_hubert(folder / "hubert.pt", SHAPE)
        for check in (features, step, waits, graphs, resumed):
            found: dict[str, Any] = {"check": check.__name__}
            try:
                found["answer"] = check(ckpt, corpus, folder)
            except Exception:
                found["error"] = traceback.format_exc()
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
