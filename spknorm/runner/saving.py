"""The checkpoints that a run writes as it goes, what rides in them, and what it computed with.

After `iteration.py` and `journal.py`, for `engine.py`; `spknorm.runs.checkpoint` writes the files.
"""

import time

import torch

from spknorm import config as configuration
from spknorm.config.device import tf32_in
from spknorm.corpora.digest import summaries
from spknorm.method.optim.precision import precision_of
from spknorm.runner.iteration import Iteration
from spknorm.runner.s3prl_runner import S3prlRunner
from spknorm.runs import checkpoint
from spknorm.runs.journal import Journal
from spknorm.runs.result import Computing
from spknorm.runs.state import KEY, Counters
from spknorm.upstreams import tuning


class Saver:
    """Writes the leader's checkpoints, and keeps the run's clock, which they carry on.

    Args:
        run: The runner: folder, settings, models.
        iteration: Has the optimisers.
        journal: Is on the disk before a checkpoint that counts its lines.
        counters: Of the run.
    """

    def __init__(
        self, run: S3prlRunner, iteration: Iteration, journal: Journal, counters: Counters
    ) -> None:
        self._run, self._iteration, self._journal = run, iteration, journal
        self._counters, self._settings = counters, run.settings
        self._started = time.monotonic() - counters.seconds

    def seconds(self) -> float:
        """Return the wall clock of all parts of the run together."""
        return time.monotonic() - self._started

    def save(self) -> None:
        """Write the numbered checkpoint of this step; delete those that it makes one too many."""
        step = self._counters.step
        self.write(f"states-{step}.ckpt")
        if self._run.world.is_leader:
            checkpoint.rotate(self._run.expdir, step=step, keep=self._settings.runner.max_keep)

    def write(self, name: str) -> None:
        """Write a checkpoint of everything that a resumed run needs."""
        run, counters = self._run, self._counters
        counters.seconds = self.seconds()
        counters.lines = self._journal.lines
        counters.window = self._iteration.instrument.window.values.tolist()
        counters.totals = self._iteration.instrument.totals.values.tolist()
        self._note_attention()
        if not run.world.is_leader:
            return
        micro_batches = counters.step * self._settings.runner.gradient_accumulate_steps
        states = {
            **self._iteration.state_dict(),
            "Step": counters.step,
            "Epoch": micro_batches // len(run.expert.streams.emotion(0, run.world.size).order),
            "Args": checkpoint.plain_args(run.args),
            "Config": configuration.to_mapping(run.config),
            KEY: {
                "counters": vars(counters),
                "scaler": self._iteration.scaler.state_dict(),
                "corpora": summaries(run.expert.data.corpora),
                "classes": list(run.expert.emotions),
                "scale": run.expert.data.emotion.scale,
            },
        }
        for entry in run.all_entries:
            if entry.trainable or run.init_ckpt.get(entry.name):  # frozen, but given by -i
                states[entry.name] = tuning.state_of(entry.model)
        if run.world.size > 1:
            states["WorldSize"] = run.world.size
        self._journal.sync()
        checkpoint.save(run.expdir / name, states)

    def computing(self) -> Computing:
        """Return what the run computed with, up to now."""
        self._note_attention()
        run, device, counters = self._settings.runner, self._run.world.device, self._counters
        encoder, precision = self._run.source.encoder, precision_of(run, device)
        on_gpu = device.type == "cuda"
        return Computing(
            device=torch.cuda.get_device_name(device) if on_gpu else device.type,
            precision=precision,
            attention=tuple(counters.attention),
            tf32=() if precision == "bf16" else tuple(tf32_in(str(device))),
            fused=bool(self._iteration.update.emotion.defaults.get("fused")),
            compiled=encoder is not None and encoder.compiled,
            recorded=encoder is not None and encoder.graphs.recorded,
            most_frames=counters.most_frames,
            recomputes=encoder is not None and encoder.recomputes,
            keeps_on_host=counters.keeps_on_host,
        )

    def _note_attention(self) -> None:
        """Keep in the counters, and so in checkpoints, how attention has been computed."""
        found = () if self._run.source.encoder is None else self._run.source.encoder.attention
        self._counters.attention = sorted({*self._counters.attention, *found})
