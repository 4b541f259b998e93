"""What is asked of a GPU beside steps: equality after resuming, features; for `gpu.py`.

Each function runs in a process of its own.
"""

import logging
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.loops import our_runner
from speed.world import Corpus
from spknorm import registry


def differing_after_resuming(
    ckpt: Path, corpus: Corpus, *, cache: Path, batch_size: int, exact: bool
) -> tuple[int, int]:
    """Return how many tensors of a TAP run of 4 steps another has that stopped after 2; and of all.

    Args:
        ckpt: The upstream.
        corpus: Both corpora.
        cache: Of front ends.
        batch_size: Utterances of each batch.
        exact: With torch's deterministic algorithms.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.use_deterministic_algorithms(exact)
    folder = Path(tempfile.mkdtemp(prefix="spknorm-benchmark-"))

    def train(name: str, steps: int, save: int) -> None:
        our_runner(
            ckpt, corpus, strategy="TAP", cache=cache, batch_size=batch_size, precision="bf16",
            device="cuda", runner={"total_steps": steps, "save_step": save}, expdir=folder / name,
        ).train()  # fmt: skip

    try:
        train("whole", 4, 4)
        whole = _tensors(folder / "whole" / "states-4.ckpt")
        shutil.rmtree(folder / "whole")  # gigabytes
        train("parts", 2, 2)
        train("parts", 4, 2)
        parts = _tensors(folder / "parts" / "states-4.ckpt")
    finally:
        torch.use_deterministic_algorithms(False)
        shutil.rmtree(folder)
    return sum(not torch.equal(value, parts[key]) for key, value in whole.items()), len(whole)


def features_and_probe(ckpt: Path, corpus: Corpus) -> tuple[float, float, float]:
    """Return seconds for pooled features, seconds of audio per second, and seconds for a probe."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    registry.register()
    from s3prl.upstream.hubert.expert import UpstreamExpert

    from spknorm.corpora.doors import read_list
    from spknorm.features.reader import upstream_reader
    from spknorm.features.reading import Reading
    from spknorm.probe import Pooled, run_probe
    from spknorm.schema import UpstreamConfig

    utterances = read_list(corpus.manifest)
    speakers = [str(utterance.speaker) for utterance in utterances]
    labels = np.unique(speakers, return_inverse=True)[1]
    upstream = UpstreamExpert(str(ckpt)).eval().to("cuda")
    reading = Reading("hidden_states", None, normalize=False, rate=320, pooled=True)
    config = UpstreamConfig(cache="off")
    reader = upstream_reader(upstream, reading, config=config, device="cuda")
    reader.read(utterances[:8])  # warm
    started = time.perf_counter()
    pooled = reader.read(utterances)[:, -1]
    taken = time.perf_counter() - started
    train, test = (Pooled(pooled[start::2], labels[start::2]) for start in (0, 1))
    begun = time.perf_counter()
    run_probe("linear", train, test)
    return taken, sum(corpus.seconds) / taken, time.perf_counter() - begun


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    states = torch.load(path, weights_only=True, map_location="cpu")
    found: dict[str, torch.Tensor] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{name}.{key}")
        elif isinstance(value, (list, tuple)):
            for place, item in enumerate(value):
                walk(item, f"{name}.{place}")

    for part in ("Upstream", "Featurizer", "Downstream", "Optimizer"):
        walk(states.get(part), part)
    return found
