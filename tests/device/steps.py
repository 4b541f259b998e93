"""The project's own iteration on the pretended device, with a HuBERT of any size.

Legend: B utterances of L_i samples.
"""

import ctypes
import dataclasses
import io
import itertools
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import stand_ins
import torch
import yaml
from torch import nn

import spknorm.compat
from spknorm import config as configuration
from spknorm.batches import Batch
from spknorm.features import Kept
from spknorm.features.ahead import Ahead
from spknorm.features.sources import Source
from spknorm.method.model import make_heads
from spknorm.method.optim.world import World
from spknorm.runner import setup
from spknorm.runner.iteration import Iteration
from spknorm.runs.instrument import Start
from spknorm.runs.state import Counters
from spknorm.schema import TaskConfig
from spknorm.statistics.targets import Classes
from spknorm.upstreams.fast import make_encoder

SHAPES = {
    "tiny": {"layers": 2, "dim": 64, "ffn": 128, "heads": 2, "dropout": 0.1, "large": False},
    "base": {"layers": 12, "dim": 768, "ffn": 3072, "heads": 12, "dropout": 0.1, "large": False},
    "large": {"layers": 24, "dim": 1024, "ffn": 4096, "heads": 16, "dropout": 0.0, "large": True},
}
ONE_BATCH = {"runner": {"gradient_accumulate_steps": 1}}

_CONVOLUTIONS = [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2
_TASK = Path(spknorm.__file__).parents[1] / "downstream" / "emotion_spknorm" / "config.yaml"


class _Device(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_ulong) for name in ("launches", "products", "waits", "to_device")),
        *((name, ctypes.c_ulong) for name in ("to_host", "within", "allocations")),
        ("held", ctypes.c_ulong * 8),
        ("fail_at", ctypes.c_ulong),
        ("reads", ctypes.c_ulong),
        ("again", ctypes.c_ulong),
        ("fail_product", ctypes.c_ulong),
        ("slow", ctypes.c_ulong),
        ("replays", ctypes.c_ulong),
    ]


library = ctypes.CDLL(None)
device = _Device.in_dll(library, "pretended")
FAILURES = ("allocation", "product", "cuDNN")
"""What can fail for want of memory: an allocation, a product of cuBLAS, a call of cuDNN."""
stood_in = stand_ins.install()


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a step asked of the device; `launches` has the kernels of graphs, too."""

    launches: int
    replays: int
    waits: int
    to_device: int
    to_host: int
    peak_gb: float
    reserved_gb: float


def reset() -> None:
    """Count from zero."""
    library.pretended_reset()
    stand_ins.calls.clear()
    torch.cuda.reset_peak_memory_stats()


def fail(what: str, number: int) -> None:
    """Count from zero, and let the `number`-th of `FAILURES` fail; 0: let nothing fail."""
    reset()
    device.fail_at = number if what == "allocation" else 0
    device.fail_product = number if what == "product" else 0
    stand_ins.fail_at = number if what == "cuDNN" else 0


def counted(what: str) -> int:
    """Return how many of what can fail there have been since `reset`."""
    numbers = device.allocations, device.products, stand_ins.calls.total()
    return dict(zip(FAILURES, numbers, strict=True))[what]


def asked() -> Asked:
    """Return what has been asked since `reset`; cuDNN's calls are launches, too."""
    return Asked(
        launches=device.launches + device.within + stand_ins.calls.total(),
        replays=device.replays,
        waits=device.waits,
        to_device=device.to_device,
        to_host=device.to_host,
        peak_gb=torch.cuda.max_memory_allocated() / 1e9,
        reserved_gb=torch.cuda.max_memory_reserved() / 1e9,
    )


def kernels() -> dict[str, int]:
    """Return how often each kernel was launched, by its mangled name."""
    path = Path("/tmp") / f"kernels-{id(device)}"
    library.pretended_kernels(str(path).encode())
    lines = [line.split() for line in path.read_text().splitlines()]
    path.unlink()
    return {name: int(count) for count, name in lines}


def settings(**sections: Any) -> TaskConfig:
    """Return the task's config.yaml with sections changed."""
    content = yaml.safe_load(_TASK.read_text())
    _merge(content, sections)
    return configuration.parse(content)


def sections(
    *, strategy: str, update: str, precision: str, base: dict[str, Any] = ONE_BATCH, **_: Any
) -> dict[str, Any]:
    """Return sections for `settings`: a method in a precision, on top of others."""
    method = {"strategy": strategy, "update": update}
    if update == "adaptive":
        method["ascent_lr"] = 1e-6
    return {
        **base,
        "runner": {**base.get("runner", {}), "precision": precision, "max_nonfinite": 1000},
        "downstream_expert": {**base.get("downstream_expert", {}), "spknorm": method},
    }


def batch(seconds: Sequence[float], *, classes: int = 4) -> Batch:
    """Return a batch of noise."""
    noise = np.random.default_rng(0)
    wavs = [0.1 * noise.standard_normal(int(16000 * s), dtype=np.float32) for s in seconds]
    places = list(range(len(wavs)))
    return Batch(wavs, [place % classes for place in places], [f"u{p}" for p in places], places)


class Setup:
    """An iteration and all that it needs, as `runner.engine` puts it together.

    Args:
        shape: A key of `SHAPES`.
        config: The whole configuration.
        cached: The front ends of emotion batches are looked up.
        num_speakers: K.
        card: Where it computes.
    """

    def __init__(
        self,
        shape: str,
        config: TaskConfig,
        *,
        cached: bool = False,
        num_speakers: int = 50,
        card: str = "cuda",
    ) -> None:
        torch.manual_seed(0)
        size = SHAPES[shape]
        self.world = World(card)
        method = config.downstream_expert.spknorm
        with torch.device(card), redirect_stdout(io.StringIO()):
            self.upstream = _hubert(size)
            self.featurizer = _featurizer(int(size["dim"]))
            heads = make_heads(
                config.downstream_expert,
                int(size["dim"]),
                num_emotions=4,
                num_speakers=num_speakers if method.strategy != "none" else 0,
            )
        self.upstream.to(card)  # a few of its weights are made where no default reaches
        encode = make_encoder(self.upstream, self.featurizer, config.upstream)
        source = Source(encode, device=self.world.device)
        if cached:
            kept = {"emotion": _front_ends(encode, config, self.world.device)}
            source = Source(encode, device=self.world.device, kept=kept)
        expert = SimpleNamespace(
            heads=heads,
            emotions=["a", "b", "c", "d"],
            target=Classes(("a", "b", "c", "d")),
            num_speakers=num_speakers,
            streams=SimpleNamespace(held_out=lambda rank, world: None),
            seed=1337,
        )
        modules = [self.upstream, self.featurizer, heads]
        for module in modules:
            module.train()
        self.groups = setup.make_groups(self.upstream, self.featurizer, heads, frozen=False)
        self.counters, self.said = Counters(), []
        self._source, self._ahead = source, None
        self.iteration = Iteration(
            expert,
            source,
            self.groups,
            self.world,
            modules=modules,
            settings=config,
            counters=self.counters,
            say=self.said.append,
            start=Start(),
        )
        self._cached, self._accumulate = cached, config.runner.gradient_accumulate_steps
        self._adversarial = method.strategy != "none"

    def step(self, emotion: Batch, speaker: Batch) -> None:
        """Do a step of as many emotion batches as are accumulated, and one speaker batch.

        Those of the first step are every step's.
        """
        if self._cached:
            emotion = emotion._replace(wavs=[], ids=[str(len(wav)) for wav in emotion.wavs])
        if self._ahead is None:
            streams = {
                "emotion": (itertools.repeat(emotion), self._accumulate),
                "speaker": (itertools.repeat(speaker), int(self._adversarial)),
            }
            self._ahead = self.iteration.ahead = Ahead(streams, self._source, self.world.device)
        self.counters.behind = False  # a step by itself: what an ascent takes here means nothing
        self.iteration(*self._ahead.take())


def _front_ends(encode: Any, config: TaskConfig, device: torch.device) -> Kept:
    """Return front ends of zeros, by the number of samples that an utterance is called."""
    channels = _CONVOLUTIONS[-1][0]
    lower = configuration.to_mapping(config.runner)["precision"] == "bf16"
    kind = np.int16 if lower else np.float32

    class Store:
        def __getitem__(self, samples: str) -> Any:
            frames = int(samples)
            for _, width, stride in _CONVOLUTIONS:
                frames = (frames - width) // stride + 1
            return np.zeros((frames, channels), kind)

    class Keys:
        def __getitem__(self, key: str) -> str:
            return key

        def __contains__(self, key: str) -> bool:
            return True

    return Kept(Store(), Keys(), finish=encode.transform, device=device)  # type: ignore[arg-type]


def _hubert(size: dict[str, Any]) -> nn.Module:
    from s3prl.upstream.hubert import expert as module
    from s3prl.upstream.hubert import hubert_model as hubert

    large, rate = size["large"], size["dropout"]
    about = hubert.HubertConfig(
        label_rate=50.0,
        encoder_layers=size["layers"],
        encoder_embed_dim=size["dim"],
        encoder_ffn_embed_dim=size["ffn"],
        encoder_attention_heads=size["heads"],
        dropout=rate,
        attention_dropout=rate,
        dropout_input=rate,
        dropout_features=rate,
        layer_norm_first=large,
        extractor_mode="layer_norm" if large else "default",
        final_dim=256,
        conv_feature_layers=repr(_CONVOLUTIONS),
    )
    task = hubert.HubertPretrainingConfig(label_rate=50.0, normalize=large)
    model = hubert.HubertModel(about, task, [[str(unit) for unit in range(8)]])
    with mock.patch.object(module, "load_converted_model", lambda path: (model, task)):
        return module.UpstreamExpert("nowhere")


def _featurizer(dim: int) -> nn.Module:
    """Return s3prl's Featurizer of the last hidden state, without the pass that it looks with."""
    from s3prl.upstream.interfaces import Featurizer

    made = Featurizer.__new__(Featurizer)
    nn.Module.__init__(made)
    made.name, made.output_dim, made.downsample_rate = "Featurizer", dim, 320
    made.feature_selection, made.layer_selection = "last_hidden_state", None
    made.normalize = False
    return made


def _merge(into: dict[str, Any], changed: dict[str, Any]) -> None:
    for key, value in changed.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
