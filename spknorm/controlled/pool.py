"""All utterances of one seed as features, computed once for every confounding rho.

First in the benchmark's flow: utterances depend on rho only through the emotion drawn for a
training slot, so each slot is spoken in its free and in its dominant emotion, and a corpus of any
rho is a choice of rows. Nothing is written but the features.

Legend: N utterances, T frames, H dimensions of a frame, D of a pooled feature.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from spknorm.demo import population
from spknorm.demo.synthesis import FloatArray, to_pcm16
from spknorm.files import atomic_path, sha256_of

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Features = TypeVar("Features", Floats, "Tensor")
"""Of utterances: an array (N, D) of pooled ones, or a tensor (N, T, H) of frames."""

_BATCH = 40


class Rows(NamedTuple):
    """Utterances of a part of a corpus (N,): rows of the pool, index into EMOTIONS, speaker 0-9."""

    row: Integers
    emotion: Integers
    speaker: Integers


class Pool(NamedTuple, Generic[Features]):
    """The features of one seed: of `utterances_of` in that order, and of the speaker corpus."""

    seed: int
    emotional: Features
    neutral: Features


@functools.lru_cache(maxsize=1)
def features_of(seed: int, folder: Path) -> Pool[Floats]:
    """Return the pooled features of the seed at hand, which its parts share; kept in `folder`."""
    return make_pool(seed, features_file(folder, seed))


def features_file(folder: Path, seed: int) -> Path:
    """Return where a seed's features are kept; what is there already is taken as they are."""
    return folder / "features" / f"seed-{seed}-{fingerprint()}.npz"


def make_pool(seed: int, cache: Path | None = None) -> Pool[Floats]:
    """Return pooled features, from the .npz file `cache` if it is there (else 20 s of a core)."""
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as arrays:
            return Pool(seed, arrays["emotional"], arrays["neutral"])
    from spknorm.controlled.upstream import load_upstream, pool_layers

    upstream = load_upstream()

    def pooled(waves: Iterator[FloatArray]) -> Floats:
        batches = iter(lambda: list(itertools.islice(waves, _BATCH)), [])
        return np.concatenate([pool_layers(upstream, batch) for batch in batches])

    pool = Pool(seed, pooled(emotional_waves(seed)), pooled(neutral_waves(seed)))
    if cache is not None:
        keep_pool(pool, cache)
    return pool


@functools.cache
def fingerprint() -> str:
    """Return a hash of the generator's code and the upstream's checkpoint."""
    from spknorm import demo, registry

    sources = [Path(demo.__file__).with_name(name) for name in ("synthesis.py", "population.py")]
    checkpoint = registry.plugin_root() / "upstream_adapters" / "demo_hubert" / "demo_hubert.pt"
    found = filter(Path.exists, (*sources, checkpoint))
    return sha256_of(b"".join(path.read_bytes() for path in found))[:12]


def keep_pool(pool: Pool[Floats], cache: Path) -> None:
    """Write the features of a seed as an .npz file, from which `make_pool` reads them."""
    with atomic_path(cache) as temporary, temporary.open("wb") as file:
        np.savez(file, emotional=pool.emotional, neutral=pool.neutral)


@functools.lru_cache(maxsize=2)
def utterances_of(seed: int) -> tuple[tuple[population.Slot, int], ...]:
    """Return every (slot, emotion) that is spoken under some rho, in the pool's order."""
    return tuple(
        (slot, emotion)
        for slot in population.emotion_slots(seed)
        for emotion in sorted({slot.emotion(0.0), slot.emotion(1.0)})
    )


def training_rows(seed: int, rho: float, fold: int) -> Rows:
    """Return the training utterances (384) of a fold: all sessions but `fold` (0-4)."""
    return _rows(seed, rho, lambda slot: not slot.is_test and slot.speaker // 2 != fold)


def test_rows(seed: int, fold: int, *, seen: bool = False) -> Rows:
    """Return the balanced test utterances of the session held out (128), or of the others (512)."""
    return _rows(seed, 0.0, lambda slot: slot.is_test and (slot.speaker // 2 != fold) == seen)


def speaker_split() -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return who speaks in the speaker corpus (1280,), and what trains (the rest is to probe)."""
    number = np.tile(np.arange(population.UTTERANCES_PER_SPEAKER), population.NUM_SPEAKERS)
    speaker = np.repeat(np.arange(population.NUM_SPEAKERS), population.UTTERANCES_PER_SPEAKER)
    return speaker, number < population.UTTERANCES_PER_SPEAKER - population.PROBE_PER_SPEAKER


def emotional_waves(seed: int) -> Iterator[FloatArray]:
    """Yield the samples (L,) of `utterances_of(seed)`."""
    for slot, emotion in utterances_of(seed):
        yield as_read(population.speak_emotion(seed, slot, emotion))


def neutral_waves(seed: int) -> Iterator[FloatArray]:
    """Yield the samples (L,) of the speaker corpus, by speaker."""
    for speaker in range(population.NUM_SPEAKERS):
        for number in range(population.UTTERANCES_PER_SPEAKER):
            yield as_read(population.speak_neutral(seed, speaker, number))


def as_read(samples: FloatArray) -> FloatArray:
    """Return samples (L,) as they are when written to a 16-bit file and read again."""
    return to_pcm16(samples) / 32768.0


def _rows(seed: int, rho: float, wanted: Callable[[population.Slot], bool]) -> Rows:
    found = [
        (row, emotion, slot.speaker)
        for row, (slot, emotion) in enumerate(utterances_of(seed))
        if wanted(slot) and emotion == slot.emotion(rho)
    ]
    rows, emotions, speakers = np.array(found, dtype=np.int64).T
    return Rows(rows, emotions, speakers)
