"""Fine-tuning WavLM and XLS-R's kind of wav2vec 2.0: this project's TAP step against stock s3prl's.

WavLM has Base's size. Of XLS-R 300M's 24 layers there are four, so that two of it fit into
the memory of a small machine; its layers, front end and norms are as they are. `measure_whole` has
all 24, one process after the other.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from speed.finetune import batch_of, size_of
from speed.loops import our_loop, stock_loop
from speed.measure import Figure, median, summary
from speed.relay import Relay
from speed.world import BASE, CONV, LARGE


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figures of one training step in float32 on the CPU."""
    _, lengths = size_of(quick=quick, short=short)
    corpus, batch = batch_of(folder / f"finetune-{sum(lengths)}", lengths)
    base = {**BASE, "layers": 2 if quick else BASE["layers"]}
    large = {**LARGE, "layers": 2 if quick else 4}
    cases = (
        ("WavLM Base", "wavlm_local", make_wavlm(folder / f"wavlm-{base['layers']}.pt", base)),
        (
            "XLS-R, 4 of 24 layers",
            "wav2vec2_local",
            make_xls_r(folder / f"xls-r-{large['layers']}.pt", large),
        ),
    )
    for title, entry, ckpt in cases:
        common: dict[str, Any] = {"batch": batch, "entry": entry}
        ours = partial(our_loop, ckpt, corpus, cache=folder / "cache", strategy="TAP", **common)
        lora = {"cache": "off", "lora": {"rank": 8, "alpha": 16.0}}
        times = Relay(rounds=2 if quick else 3).run(
            {
                "s3prl": partial(stock_loop, ckpt, corpus, **common),
                "TAP": partial(ours, upstream={"cache": "off"}),
                "TAP in LoRA": partial(ours, upstream=lora),
            }
        )
        seconds = {name: median(values) for name, values in times.items()}
        yield Figure(
            f"{title}: TAP step, float32, over stock s3prl", 2 * seconds["s3prl"] / seconds["TAP"],
            2.0,
            note="seconds of audio per second, twice as many in a TAP step; CPU, "
            f"{' + '.join(f'{length:g}' for length in lengths)} s",
            details=summary(times),
        )  # fmt: skip
        yield Figure(
            f"{title}: TAP step in LoRA (rank 8) over the full one",
            seconds["TAP in LoRA"] / seconds["TAP"], unit="of the time",
        )  # fmt: skip


def measure_whole(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figure of XLS-R 300M with all of its layers; memory holds one run at a time."""
    _, lengths = size_of(quick=quick, short=short)
    corpus, batch = batch_of(folder / f"finetune-{sum(lengths)}", lengths)
    shape = {**LARGE, "layers": 2 if quick else LARGE["layers"]}
    ckpt = make_xls_r(folder / f"xls-r-{shape['layers']}.pt", shape)
    common: dict[str, Any] = {"batch": batch, "entry": "wav2vec2_local"}
    loops = {
        "s3prl": partial(stock_loop, ckpt, corpus, **common),
        "TAP": partial(
            our_loop, ckpt, corpus, cache=folder / "cache", strategy="TAP",
            upstream={"cache": "off"}, **common,
        ),
    }  # fmt: skip
    times = {n: Relay(rounds=1, warmup=1).run({n: loop})[n] for n, loop in loops.items()}
    seconds = {name: median(values) for name, values in times.items()}
    yield Figure(
        f"XLS-R 300M, {shape['layers']} layers: TAP step, float32, over stock s3prl",
        2 * seconds["s3prl"] / seconds["TAP"], 2.0,
        note="seconds of audio per second; one process after the other, the second step of each; "
        f"CPU, {' + '.join(f'{length:g}' for length in lengths)} s",
        details=summary(times),
    )  # fmt: skip


def make_wavlm(path: Path, shape: dict[str, Any]) -> Path:
    """Write a random WavLM of a shape as Microsoft released it, unless it is there."""
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    if not path.exists():
        large = shape["large"]
        cfg = {
            "encoder_layers": shape["layers"], "encoder_embed_dim": shape["dim"],
            "encoder_ffn_embed_dim": shape["ffn"], "encoder_attention_heads": shape["heads"],
            "encoder_layerdrop": 0.05, "conv_feature_layers": CONV,
            "relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320,
            "max_distance": 800, "layer_norm_first": large, "normalize": large,
            "extractor_mode": "layer_norm" if large else "default",
            **({} if shape["dropout"] else {"dropout": 0.0, "attention_dropout": 0.0}),
        }  # fmt: skip
        torch.manual_seed(0)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"cfg": cfg, "model": WavLM(WavLMConfig(cfg)).state_dict()}, path)
    return path


def make_xls_r(path: Path, shape: dict[str, Any]) -> Path:
    """Write a random wav2vec 2.0 of XLS-R's kind in s3prl's converted format."""
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model

    if not path.exists():
        model_cfg = {
            "encoder_layers": shape["layers"], "encoder_embed_dim": shape["dim"],
            "encoder_ffn_embed_dim": shape["ffn"], "encoder_attention_heads": shape["heads"],
            "layer_norm_first": True, "extractor_mode": "layer_norm", "conv_bias": True,
            "dropout": 0.0, "attention_dropout": 0.0, "encoder_layerdrop": 0.0, "final_dim": 768,
            "conv_feature_layers": CONV,
        }  # fmt: skip
        torch.manual_seed(0)
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "task_cfg": {"data": "", "normalize": True},
            "model_cfg": model_cfg,
            "model_weight": Wav2Vec2Model(Wav2Vec2Config(**model_cfg)).state_dict(),
        }
        torch.save(state, path)
    return path
