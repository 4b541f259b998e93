"""Runs a frozen upstream over utterances, each at most once for all time.

Between the upstream and the store; what it keeps is a `Reading` (reading.py).

Legend: B utterances of one length, N utterances, L layers, H upstream dimension.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spknorm.audio import SAMPLE_RATE, AudioIndex, load_audio
from spknorm.batches import fixed_crop
from spknorm.config.device import tf32_in
from spknorm.config.memory import in_smaller_parts
from spknorm.config.progress import Progress
from spknorm.corpora.columns import Utterances
from spknorm.corpora.records import Utterance
from spknorm.features.fingerprint import content_keys, fingerprint
from spknorm.features.kept import Floats, Kept
from spknorm.features.reading import Reading
from spknorm.features.store import Array, FeatureStore, human_size
from spknorm.files import cache_root, sha256_of
from spknorm.method.optim.world import rank_and_size
from spknorm.schema import UpstreamConfig
from spknorm.upstreams.alone import by_length

logger = logging.getLogger(__name__)

_BLOCK = 32  # utterances decoded ahead of the upstream
_MUCH = 1 << 30  # bytes of sound files that are not read before it is known whether there is room
_NOT_CACHED = "The features of %d utterances are not cached: %s."
_GROUP = 16  # utterances of one length that an accelerator takes at a time


class CachedReader:
    """Runs part of a model over utterances, each at most once for all time.

    Args:
        compute: Takes B waveforms (L,) of one length on the device; returns B arrays (rows, ...),
            or a tensor (B, rows, ...) of them, on the device if `compute_here` is to be called.
        about: Decides what `compute` gives: weights, settings. Part of the cache's key.
        config: `upstream` of the configuration: whether and where, and how much at most.
        pooled: An array's size does not depend on the utterance's length.
        device: Where `compute` wants the waveforms.
    """

    def __init__(
        self,
        compute: Callable[[list[Tensor]], Sequence[Array] | Tensor],
        *,
        about: Mapping[str, Any],
        config: UpstreamConfig,
        pooled: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self._read, self._pooled = compute, pooled
        self._device = torch.device(device)
        self._group_size = 1 if self._device.type == "cpu" else _GROUP  # alone is as fast there
        self._is_off, self._limit = config.cache == "off", config.cache_limit_gb * 1e9
        if self._device.type != "cpu":  # whose numbers are others
            kind = self._device.type
            about = {**about, "device": kind, "tf32": tf32_in(str(self._device))}
        name = sha256_of(repr(sorted(about.items())).encode())[:32]
        self.store = FeatureStore(cache_root(config.cache_dir) / "features" / name, about=about)

    def fill(
        self, utterances: Sequence[Utterance], *, max_seconds: float | None = None
    ) -> list[str] | None:
        """Make sure that every utterance is stored; return their keys, or None if they may not be.

        Under torch.distributed each process computes its part.
        """
        if self._is_off:
            return None
        rank, world = rank_and_size()
        reason = self._no_room_for_all(utterances, max_seconds)
        if _any_rank(reason is not None, self._device):
            if reason is not None:
                logger.warning(_NOT_CACHED, len(utterances), reason)
            return None
        if world > 1:  # each reads its share of the files, and learns the rest from the others
            content_keys(utterances[rank::world], max_seconds)
            torch.distributed.barrier()  # nor does one read the store while another writes
        keys = content_keys(utterances, max_seconds)
        wanted = dict(zip(keys, utterances, strict=True))
        todo = [(key, wanted[key]) for key in self.store.missing(keys)]
        computed = self._compute(todo[rank::world], max_seconds)
        first = list(itertools.islice(computed, 1))
        size, new = 0.0, [utterance for _, utterance in todo]
        if first:
            one = max(self._extent(new[:1], max_seconds), 1e-3)
            size = first[0][1].nbytes * self._extent(new, max_seconds) / one
        reason = self.store.room_for(size, limit_bytes=self._limit) if first else None
        if reason is not None:
            logger.warning(_NOT_CACHED, len(todo), reason)
        if _any_rank(reason is not None, self._device):
            return None
        if first:
            logger.info(
                "Computing the features of %d utterances once: %s in %s.",
                len(todo), human_size(size), self.store.folder,
            )  # fmt: skip
        self.store.add(itertools.chain(first, computed))
        if world > 1:
            torch.distributed.barrier()
            rest = [(key, wanted[key]) for key in self.store.missing(keys)]
            self.store.add(self._compute(rest, max_seconds))  # of ranks without a common disk
        return keys

    def keep(
        self,
        utterances: Sequence[Utterance],
        *,
        max_seconds: float | None = None,
        finish: Callable[[Sequence[Tensor]], list[Tensor]],
    ) -> Kept | None:
        """Return what is stored of a corpus, made into features by `finish`; None as `fill`."""
        if (keys := self.fill(utterances, max_seconds=max_seconds)) is None:
            return None
        by_id = dict(zip((one.id for one in utterances), keys, strict=True))
        return Kept(self.store, by_id, finish=finish, device=self._device)

    def compute(self, wavs: Sequence[Floats]) -> list[Array]:
        """Return the array of each waveform (L_i,), computed as what is stored was."""
        with torch.autocast(self._device.type, enabled=False):
            return self._run(list(wavs))

    @torch.no_grad()
    def compute_here(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return what `compute` gives of waveforms on the device, which it does not leave."""
        with torch.autocast(self._device.type, enabled=False):
            return self._of_groups(lambda few: list(torch.as_tensor(self._read(few))), wavs)

    def read(
        self,
        utterances: Sequence[Utterance],
        keys: Sequence[str] | None = None,
        *,
        max_seconds: float | None = None,
    ) -> Array:
        """Return the arrays of utterances end to end: (N, L, H) of N pooled ones.

        They are those under the `keys` of `fill`; without, they are computed and not stored.
        """
        if keys is not None:
            return np.concatenate([self.store[key] for key in keys])
        pairs = [(str(number), utterance) for number, utterance in enumerate(utterances)]
        return np.concatenate([array for _, array in self._compute(pairs, max_seconds)])

    def _no_room_for_all(
        self, utterances: Sequence[Utterance], max_seconds: float | None
    ) -> str | None:
        """Say why so much audio cannot be cached, before it is read to know its content."""
        if AudioIndex.shared().unknown_bytes(one.path for one in utterances) < _MUCH:
            return None
        second = self.compute([np.zeros(SAMPLE_RATE, np.float32)])[0].nbytes
        needed = max(0.0, second * self._extent(utterances, max_seconds) - self.store.used())
        return self.store.room_for(needed, limit_bytes=self._limit)

    def _extent(self, utterances: Sequence[Utterance], max_seconds: float | None) -> float:
        """Return what their arrays' size grows with: how many they are, or how many seconds."""
        return len(utterances) if self._pooled else float(_seconds(utterances, max_seconds).sum())

    def _compute(
        self, todo: Sequence[tuple[str, Utterance]], max_seconds: float | None
    ) -> Iterator[tuple[str, Array]]:
        """Yield key and array of each utterance, in order, decoding ahead."""
        load = functools.partial(_load, max_seconds=max_seconds)
        blocks = [todo[:1]] if todo else []  # alone: the room is judged by it
        blocks += [todo[start : start + _BLOCK] for start in range(1, len(todo), _BLOCK)]
        with Progress("features", len(todo)) as progress, ThreadPoolExecutor(1) as pool:
            ahead = pool.map(load, [u for _, u in blocks[0]]) if blocks else iter(())
            for number, block in enumerate(blocks):
                wavs = list(ahead)
                if number + 1 < len(blocks):
                    ahead = pool.map(load, [u for _, u in blocks[number + 1]])
                for (key, _), array in zip(block, self._run(wavs), strict=True):
                    yield key, array
                progress.advance(len(block))

    @torch.no_grad()
    def _run(self, wavs: list[Floats]) -> list[Array]:
        def compute(few: list[Floats]) -> list[Array]:
            found = self._read([torch.from_numpy(wav).to(self._device) for wav in few])
            return list(found.cpu().numpy() if isinstance(found, Tensor) else found)

        return self._of_groups(compute, wavs)

    def _of_groups(
        self, compute: Callable[[list[Any]], list[Any]], wavs: Sequence[Any]
    ) -> list[Any]:
        """Return what `compute` makes of each waveform, those of one length together."""

        def made(same: list[Any]) -> Iterator[Any]:
            for start in range(0, len(same), self._group_size):
                yield from in_smaller_parts(
                    compute,
                    same[start : start + self._group_size],
                    name=lambda wav: f"an utterance of {len(wav) / SAMPLE_RATE:.1f} s",
                    device=self._device,
                )

        return by_length(made, wavs)


def upstream_reader(
    upstream: nn.Module,
    reading: Reading,
    *,
    config: UpstreamConfig,
    device: torch.device | str = "cpu",
) -> CachedReader:
    """Return the reader of what `reading` keeps of an upstream.

    The upstream is in evaluation mode while it is read.
    """

    def compute(wavs: list[Tensor]) -> Tensor:
        training = upstream.training
        if training:  # walking through all modules costs as much as a small upstream's forward
            upstream.eval()
        try:
            output = upstream(wavs)
        finally:
            if training:
                upstream.train()
        return reading(output, len(wavs[0]))

    return CachedReader(
        compute,
        about={"upstream": fingerprint(upstream), **reading._asdict()},
        config=config,
        pooled=reading.pooled,
        device=device,
    )


def _any_rank(answer: bool, device: torch.device) -> bool:
    """Return whether the answer is yes on any rank, so that all of them go the same way."""
    if rank_and_size()[1] == 1:
        return answer
    votes = torch.tensor(int(answer), device=device)
    torch.distributed.all_reduce(votes)
    return bool(votes)


def _seconds(utterances: Sequence[Utterance], longest: float | None) -> Floats:
    found = AudioIndex.shared().look_up(Utterances.of(utterances).sounds())
    return np.minimum(found.seconds, np.inf if longest is None else longest)


def _load(utterance: Utterance, *, max_seconds: float | None) -> Floats:
    seed = None if max_seconds is None else fixed_crop(utterance)
    return load_audio(utterance.audio, max_seconds=max_seconds, crop_seed=seed)
