"""Emotions of any recording from a trained experiment: `spknorm.load(folder).predict(wav, rate)`.

Upstream, featurizer and heads are put together from dev-best.ckpt as the runner puts them together,
but without any corpus. Recordings are heard one at a time, so that no result depends on another's
length; a training-time evaluation with padded batches can differ where the upstream sees padding.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spknorm import config as configuration
from spknorm.audio import MIN_SAMPLES, SAMPLE_RATE, AudioError, iter_windows, load_audio, read_info
from spknorm.audio.resampling import Resampler
from spknorm.errors import CheckpointError, ConfigError, DataError, MissingError
from spknorm.export.experiment import class_names, read_checkpoint, sections
from spknorm.files import read_json
from spknorm.model import Heads
from spknorm.predict.rows import Row, to_csv, write_rows

__all__ = [
    "Predictor",
    "Row",
    "find_audio",
    "load",
    "predict_files",
    "to_csv",
    "write_rows",
]

logger = logging.getLogger(__name__)

WHOLE_SECONDS = 60.0
"""Longer recordings are heard window by window."""
WINDOW_SECONDS = 10.0
_SUFFIXES = {
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".au",
    ".sph",
    ".w64",
}


class Predictor:
    """A trained upstream with its emotion head.

    Args:
        upstream: s3prl's, with the trained weights.
        featurizer: s3prl's Featurizer of it.
        heads: Gate and emotion head.
        emotions: Class names by index.
        device: Where they are.
    """

    def __init__(
        self,
        upstream: nn.Module,
        featurizer: nn.Module,
        heads: Heads,
        emotions: tuple[str, ...],
        device: torch.device,
    ) -> None:
        self.emotions = emotions
        self._device = device
        self._upstream, self._featurizer, self._heads = upstream, featurizer, heads
        for module in (upstream, featurizer, heads):
            module.eval()

    @torch.no_grad()
    def logits(self, wav: NDArray[np.float32]) -> Tensor:
        """Return logits (C,) of a waveform (L,) at 16 kHz."""
        wavs = [torch.from_numpy(wav).to(self._device)]
        features = self._featurizer(wavs, self._upstream(wavs))
        return self._heads.emotion_logits(features)[0]

    def predict(self, wav: Any, rate: int) -> dict[str, float]:
        """Return the probability of each emotion.

        Args:
            wav: Samples in -1 ... 1, (L,), or (L, channels), which are averaged.
            rate: Samples per second, any.

        Raises:
            DataError: Not such an array, too short, or with NaN or infinity in it.
        """
        samples = np.asarray(wav, dtype=np.float32)
        if samples.ndim == 2:
            samples = samples.mean(axis=1)
        if samples.ndim != 1 or int(rate) < 1:
            raise DataError(
                f"A recording is (L,) or (L, channels) samples at a rate above 0, but this one has "
                f"shape {samples.shape} at {rate}."
            )
        if not np.isfinite(samples).all():
            raise DataError("The recording holds NaN or infinity.")
        resampler = Resampler(int(rate))
        length = resampler.length(len(samples))
        if length < MIN_SAMPLES:
            raise DataError(
                f"The recording has {length} samples at 16 kHz, but at least {MIN_SAMPLES} "
                "(25 ms) are needed."
            )
        return self._probabilities(resampler(samples, skip=0, count=length))

    def predict_file(
        self,
        path: Path | str,
        *,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
    ) -> Iterator[Row]:
        """Yield what is heard in a file: one row, or one per window, in constant memory.

        Args:
            path: Anything that spknorm.audio reads.
            window_seconds: Length of a window; None: up to `WHOLE_SECONDS` the whole recording,
                beyond that windows of `WINDOW_SECONDS`.
            hop_seconds: From one start to the next; None: as long as a window.

        Raises:
            AudioError: The file cannot be used.
            ConfigError: Windows too short, or a hop without windows.
        """
        path = Path(path)
        if window_seconds is None:
            if hop_seconds is not None:
                raise ConfigError("`hop_seconds` has no effect without `window_seconds`.")
            if read_info(path).seconds <= WHOLE_SECONDS:
                wav = load_audio(path)
                yield self._row(path, 0.0, wav)
                return
            window_seconds = WINDOW_SECONDS
        hop = window_seconds if hop_seconds is None else hop_seconds
        for window in iter_windows(path, window_seconds=window_seconds, hop_seconds=hop):
            yield self._row(path, window.start_second, window.samples)

    def _row(self, path: Path, start: float, wav: NDArray[np.float32]) -> Row:
        probabilities = self._probabilities(wav)
        best = max(probabilities, key=lambda name: probabilities[name])
        return Row(path, start, start + len(wav) / SAMPLE_RATE, best, probabilities)

    def _probabilities(self, wav: NDArray[np.float32]) -> dict[str, float]:
        values = self.logits(np.ascontiguousarray(wav)).double().softmax(dim=-1).tolist()
        return dict(zip(self.emotions, values, strict=True))


def load(path: Path | str, *, device: str = "cpu") -> Predictor:
    """Return the predictor of an experiment folder (its best step on dev).

    Args:
        path: The folder, with dev-best.ckpt in it.
        device: cpu, cuda, ...

    Raises:
        MissingError: No such folder or checkpoint, or no original upstream.
        CheckpointError: Damaged, or made by something else.
        ConfigError: An upstream that s3prl's hub does not have.
    """
    from s3prl import hub
    from s3prl.upstream.interfaces import Featurizer

    from spknorm.registry import register

    register()
    path = Path(path)
    state = read_checkpoint(path)
    args, task = state["Args"], configuration.parse(sections(state["Config"]))
    erasure = task.downstream_expert.spknorm.erasure
    if erasure != "none":
        raise ConfigError(
            f"{path} is a baseline with erasure {erasure}, which scores a whole corpus; "
            "it cannot hear single recordings."
        )
    entry = getattr(hub, args.upstream, None)
    if entry is None:
        raise ConfigError(f"s3prl's hub has no upstream {args.upstream}.")
    if args.upstream_ckpt and not str(args.upstream_ckpt).startswith("http"):
        _require(Path(args.upstream_ckpt), path)
    with torch.random.fork_rng(devices=[]):
        upstream = entry(
            ckpt=args.upstream_ckpt, model_config=args.upstream_model_config, refresh=False
        ).to(device)
        featurizer = Featurizer(
            upstream,
            args.upstream_feature_selection,
            device,
            layer_selection=args.upstream_layer_selection,
            normalize=bool(args.upstream_feature_normalize),
        ).to(device)
        heads = _heads(state["Downstream"], task, featurizer.output_dim).to(device)
    try:
        if "Upstream" in state:
            upstream.load_state_dict(state["Upstream"])
        featurizer.load_state_dict(state["Featurizer"])
        heads.load_state_dict(_heads_state(state["Downstream"]))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path / 'dev-best.ckpt'} does not fit the upstream {args.upstream}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    result = read_json(path / "result.json") if (path / "result.json").is_file() else {}
    emotions = class_names(result, _num_emotions(state["Downstream"]))
    return Predictor(upstream, featurizer, heads, emotions, torch.device(device))


def find_audio(paths: Iterable[Path | str]) -> list[Path]:
    """Return the files among `paths` and the audio files below the folders among them, in order.

    Raises:
        MissingError: A path is not there, or a folder holds no audio file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES)
            if not inside:
                raise MissingError(f"{path} holds no audio file ({', '.join(sorted(_SUFFIXES))}).")
            found += inside
        else:
            raise MissingError(f"There is no file or folder {path}.")
    return list(dict.fromkeys(found))


def predict_files(
    predictor: Predictor,
    paths: Iterable[Path | str],
    *,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    failed: dict[Path, str] | None = None,
) -> Iterator[Row]:
    """Yield the rows of files and of folders with everything below them, file by file.

    Args:
        predictor: What `load` returned.
        paths: Files and folders.
        window_seconds: As in `Predictor.predict_file`.
        hop_seconds: Likewise.
        failed: Takes the files that cannot be used, with the reason; None: they raise.

    Raises:
        MissingError: A path is not there.
        AudioError: A file cannot be used, and there is no `failed`.
    """
    for path in find_audio(paths):
        try:
            yield from predictor.predict_file(
                path, window_seconds=window_seconds, hop_seconds=hop_seconds
            )
        except AudioError as error:
            if failed is None:
                raise
            failed[path] = str(error)
            logger.warning("%s", error)


def _heads(state: Mapping[str, Tensor], task: Any, upstream_dim: int) -> Heads:
    """Return untrained heads of the checkpoint's sizes."""
    expert = task.downstream_expert
    model = expert.modelrc
    options = configuration.to_mapping(model)
    weights = _heads_state(state)
    return Heads(
        upstream_dim,
        num_emotions=_num_emotions(state),
        num_speakers=len(_last_bias(weights, "speaker_head.")),
        strategy=expert.spknorm.strategy,
        projector_dim=model.projector_dim,
        select=model.select,
        select_options=options[model.select],
        gate=options["gate"],
        speaker_head=options["speaker_head"],
    )


def _num_emotions(state: Mapping[str, Tensor]) -> int:
    return len(_last_bias(_heads_state(state), "model."))


def _heads_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    mark = "heads."
    return {name.removeprefix(mark): v for name, v in state.items() if name.startswith(mark)}


def _last_bias(weights: Mapping[str, Tensor], part: str) -> Any:
    """Return the bias of a part's last linear layer, which has one entry per class."""
    biases = [v for name, v in weights.items() if name.startswith(part) and name.endswith("bias")]
    return biases[-1] if biases else ()


def _require(checkpoint: Path, expdir: Path) -> None:
    if not checkpoint.is_file():
        raise MissingError(
            f"{expdir} was trained on the upstream checkpoint {checkpoint}, which is not there. "
            "Put it back; its configuration is needed to build the model."
        )
