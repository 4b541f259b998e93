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


def main() -> None:
    """Do each check, whatever comes of the others."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic products ask for it
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = make_corpus(folder / "corpus", [0.5 + place % 7 / 10 for place in range(80)])
        ckpt = make_hubert(folder / "hubert.pt", SHAPE)
        for check in (features, step, waits, resumed):
            found: dict[str, Any] = {"check": check.__name__}
            try:
                found["answer"] = check(ckpt, corpus, folder)
            except Exception:
                found["error"] = traceback.format_exc()
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
