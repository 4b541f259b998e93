"""Emotions of any recording from a trained experiment: `spknorm.load(folder).predict(wav, rate)`.

Recordings are heard one at a time, so that no result depends on another's length; a training-time
evaluation with padded batches can differ where the upstream sees padding.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spknorm.audio import (
    LOUDEST,
    MIN_SAMPLES,
    SAMPLE_RATE,
    SILENT_BELOW,
    Walk,
    check_windows,
    printable,
    read_info,
)
from spknorm.audio.resampling import Resampler
from spknorm.audio.walking import SUFFIXES
from spknorm.config.memory import in_smaller_parts
from spknorm.errors import ConfigError, DataError, MissingError, NonFiniteError
from spknorm.predict.rows import Prediction, to_csv, write_rows
from spknorm.predict.segments import (
    WHOLE_SECONDS,
    WINDOW_SECONDS,
    Segment,
    find_speech,
    parts_of,
    read_segments,
)
from spknorm.runs.trained import Trained
from spknorm.runs.trained import load as load_trained
from spknorm.statistics.metrics import classes_of
from spknorm.statistics.targets import Dimensions

__all__ = [
    "WHOLE_SECONDS",
    "WINDOW_SECONDS",
    "Prediction",
    "Predictor",
    "Segment",
    "check_asked",
    "find_audio",
    "find_speech",
    "load",
    "predict_files",
    "read_segments",
    "to_csv",
    "write_rows",
]

logger = logging.getLogger(__name__)


class Predictor:
    """A trained upstream with its emotion head."""

    def __init__(self, trained: Trained, device: torch.device) -> None:
        self.emotions = trained.emotions
        self.target = trained.target
        self._trained, self._device = trained, device

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What is predicted in the place of emotions; nothing where emotions are."""
        return self.target.names if isinstance(self.target, Dimensions) else ()

    @torch.no_grad()
    def logits(self, wav: NDArray[np.float32]) -> Tensor:
        """Return logits (C,) of a waveform (L,) at 16 kHz.

        Raises:
            ConfigError: There is too little memory for so much audio.
        """
        trained = self._trained

        def compute(waves: list[NDArray[np.float32]]) -> Tensor:
            wavs = [torch.from_numpy(wave).to(self._device) for wave in waves]
            features = trained.featurizer(wavs, trained.upstream(wavs))
            return trained.heads.emotion_logits(features)

        (found,) = in_smaller_parts(
            compute,
            [wav],
            name=lambda wave: f"{len(wave) / SAMPLE_RATE:.1f} s of audio",
            device=self._device,
        )
        return torch.as_tensor(found)

    def predict(self, wav: Any, rate: int) -> dict[str, float]:
        """Return the probability of each emotion, or the value of each dimension.

        Args:
            wav: Samples in -1 ... 1, or whole numbers up to the highest of their type, as wav
                files hold them; (L,), (1, L), or (L, channels), which are averaged.
            rate: Samples per second, any.

        Raises:
            DataError: Not such an array, too short, with NaN or infinity in it, or of no scale.
            NonFiniteError: The model gives NaN or infinity for it.
        """
        samples = _scaled(wav)
        if samples.ndim == 2 and samples.shape[0] == 1:
            samples = samples[0]
        is_turned = samples.ndim == 2 and samples.shape[0] < samples.shape[1]
        if samples.ndim not in (1, 2) or is_turned or int(rate) < 1:
            hint = f" Turn it: wav.T has shape {samples.T.shape}." if is_turned else ""
            raise DataError(
                "A recording is (L,), (1, L) or (L, channels) samples at a rate above 0, but this "
                f"one has shape {samples.shape} at {rate}.{hint}"
            )
        if samples.ndim == 2:
            samples = samples.mean(axis=1)
        if not np.isfinite(samples).all():
            raise DataError("The recording holds NaN or infinity.")
        if np.abs(samples).max(initial=0) > LOUDEST:
            raise DataError("The recording's samples are far above 1: divide by its full scale.")
        resampler = Resampler(int(rate))
        length = resampler.length(len(samples))
        if length < MIN_SAMPLES:
            raise DataError(
                f"The recording has {length} samples at 16 kHz, but at least {MIN_SAMPLES} "
                "(25 ms) are needed."
            )
        return self._numbers(resampler(samples, skip=0, count=length), "the recording")

    def predict_file(
        self,
        path: Path | str,
        *,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> Iterator[Prediction]:
        """Yield what is heard in a file: one row, or one per window, in constant memory.

        Args:
            path: Anything that spknorm.audio reads.
            window_seconds: Length of a window; None: up to `WHOLE_SECONDS` the whole recording,
                beyond that windows of `WINDOW_SECONDS`.
            hop_seconds: From one start to the next; None: as long as a window.
            segments: Only these parts, each cut into windows where it is longer than one; no window
                reaches from one into the next. None: the whole recording.

        Raises:
            AudioError: The file cannot be used.
            DataError: It ends before its segments begin.
            ConfigError: See `check_asked`.
            NonFiniteError: The model gives NaN or infinity for it.
        """
        path = Path(path)
        check_asked(window_seconds, hop_seconds)
        ranges: list[float] = []
        for start, speaker, wav in parts_of(path, window_seconds, hop_seconds, segments):
            yield self._row(path, start, wav)._replace(speaker=speaker)
            ranges.append(float(np.ptp(wav)))
        if segments is not None and not ranges:
            raise DataError(
                f"{printable(path)} has none of its segments in it: it is "
                f"{read_info(path).seconds:.2f} s long, and 25 ms are the least."
            )
        silent = sum(one < 2 * SILENT_BELOW for one in ranges)
        if silent:
            which = "it is" if len(ranges) == 1 else f"{silent} of {len(ranges)} parts are"
            text = "%s: %s silence (under -60 dB), of which no emotion can be told."
            logger.warning(text, printable(path), which)

    def _row(self, path: Path, start: float, wav: NDArray[np.float32]) -> Prediction:
        numbers = self._numbers(wav, str(path))
        end = start + len(wav) / SAMPLE_RATE
        if isinstance(self.target, Dimensions):
            return Prediction(path, start, end, None, {}, dimensions=numbers)
        best = max(numbers, key=lambda name: numbers[name])
        return Prediction(path, start, end, best, numbers)

    def _numbers(self, wav: NDArray[np.float32], name: str) -> dict[str, float]:
        """Return a number per class or dimension."""
        logits = self.logits(np.ascontiguousarray(wav)).cpu().double()
        classes_of(logits[None], [name])  # refuses what is not finite
        if isinstance(self.target, Dimensions):
            return dict(self.target.named(self.target.guesses(logits[None])[0].tolist()))
        return dict(zip(self.emotions, logits.softmax(dim=-1).tolist(), strict=True))


def _scaled(wav: Any) -> NDArray[np.float32]:
    """Return samples as floats: whole numbers, which s3prl never sees, by their type's range."""
    given = np.asarray(wav.detach().cpu() if hasattr(wav, "detach") else wav)  # a tensor
    if given.dtype.kind not in "iu":
        return np.asarray(given, dtype=np.float32)
    half = 2.0 ** (8 * given.dtype.itemsize - 1)
    zero = half if given.dtype.kind == "u" else 0.0
    return ((given - zero) / half).astype(np.float32)


def check_asked(window_seconds: float | None, hop_seconds: float | None) -> None:
    """Check what is asked of windows, which needs no model.

    Raises:
        ConfigError: A hop without windows, or lengths that are too short or no numbers.
    """
    if window_seconds is not None:
        check_windows(window_seconds, window_seconds if hop_seconds is None else hop_seconds)
    elif hop_seconds is not None:
        raise ConfigError("`hop_seconds` has no effect without `window_seconds`.")


def load(path: Path | str, *, device: str = "cpu") -> Predictor:
    """Return the predictor of an experiment folder (its best step on dev).

    Raises:
        MissingError: No such folder or checkpoint, or no original upstream.
        CheckpointError: Damaged, or made by something else.
        ConfigError: An upstream that s3prl's hub does not have.
    """
    trained = load_trained(path, device=device)
    erasure = trained.settings.downstream_expert.spknorm.erasure
    if erasure != "none":
        raise ConfigError(
            f"{path} is a baseline with erasure {erasure}, which scores a whole corpus; "
            "it cannot hear single recordings."
        )
    return Predictor(trained, torch.device(device))


def find_audio(paths: Iterable[Path | str]) -> list[Path]:
    """Return the files among `paths` and the audio files below the folders among them, in order.

    Links are followed; files that are not audio by their names are counted in the log.

    Raises:
        MissingError: A path is not there, or a folder holds no audio file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            walk = Walk()
            inside = list(walk.files(path))
            if not inside:
                known = ", ".join(sorted(SUFFIXES))
                raise MissingError(
                    f"{printable(path)} holds no audio file ({known}).{walk.aside()}"
                )
            walk.report(path)
            found += inside
        elif path.exists() or path.is_symlink():  # a broken link is a file that cannot be used
            found.append(path)
        else:
            raise MissingError(f"There is no file or folder {printable(path)}.")
    return list(dict.fromkeys(found))


def predict_files(
    predictor: Predictor,
    paths: Iterable[Path | str],
    *,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    segments: Callable[[Path], Sequence[Segment]] | None = None,
    failed: dict[Path, str] | None = None,
) -> Iterator[Prediction]:
    """Yield the rows of files and of folders with everything below them, file by file.

    Windows are as in `Predictor.predict_file`; `segments` gives those of a file, None: files are
    predicted whole. `failed` takes the files that cannot be used, with the reason; None: they
    raise.

    Raises:
        MissingError: A path is not there.
        DataError, NonFiniteError: A file cannot be used, and there is no `failed`.
    """
    for path in find_audio(paths):
        try:
            yield from predictor.predict_file(
                path,
                window_seconds=window_seconds,
                hop_seconds=hop_seconds,
                segments=None if segments is None else segments(path),
            )
        except (DataError, NonFiniteError) as error:
            if failed is None:
                raise
            failed[path] = str(error)
            logger.warning("%s", error)
