"""What a run computed with, put together from all who know it; for `engine.py`, `saving.py`."""

import torch

from spknorm.config.device import tf32_in
from spknorm.runner.distributed import World
from spknorm.runner.iteration import Iteration
from spknorm.runner.passes import precision_of
from spknorm.runner.sources import Source
from spknorm.runner.state import Counters
from spknorm.runs.computing import Computing
from spknorm.schema import RunnerConfig


def computing_of(
    run: RunnerConfig, world: World, source: Source, iteration: Iteration, counters: Counters
) -> Computing:
    """Return what a run computed with, up to now.

    Args:
        run: The section `runner`.
        world: Knows the device.
        source: Of its features.
        iteration: Knows the optimisers.
        counters: Of the run; how attention was computed is noted in them.
    """
    note_attention(source, counters)
    device, encoder = world.device, source.encoder
    on_gpu, precision = device.type == "cuda", precision_of(run, device)
    return Computing(
        device=torch.cuda.get_device_name(device) if on_gpu else device.type,
        precision=precision,
        attention=tuple(counters.attention),
        tf32=() if precision == "bf16" else tuple(tf32_in(device.type)),
        fused=bool(iteration.update.emotion.defaults.get("fused")),
        compiled=encoder is not None and encoder.compiled,
        most_frames=counters.most_frames,
        recomputes=encoder is not None and encoder.recomputes,
        keeps_on_host=counters.keeps_on_host,
    )


def note_attention(source: Source, counters: Counters) -> None:
    """Keep in the counters, and so in checkpoints, how attention has been computed."""
    found = () if source.encoder is None else source.encoder.attention
    counters.attention = sorted({*counters.attention, *found})
