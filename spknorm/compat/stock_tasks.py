"""What s3prl's own tasks emotion, voxceleb1 and fluent_commands lack or do in the wrong place."""

import functools
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from spknorm.compat.audio_files import load
from spknorm.errors import NonFiniteError
from spknorm.files import bytes_of, sha256_of, write_atomic

SAMPLE_RATE = 16000


class JsonInPlaceOfPickle:
    """voxceleb1 pickles its file list; JSON holds the same list of texts and runs nothing."""

    load = staticmethod(json.load)

    @staticmethod
    def dump(value: Any, file: Any) -> None:
        """Write `value` to the open file's name."""
        write_atomic(Path(file.name), json.dumps(value))


def keep_file_list_per_root(module: Any) -> None:
    """Keep voxceleb1's file list in the experiment's folder, one per root and split list.

    It was kept beside s3prl's code and reused whatever the root was.
    """
    expert = module.DownstreamExpert
    initialise = expert.__init__

    @functools.wraps(initialise)
    def with_own_cache(
        self: Any, upstream_dim: int, downstream_expert: Any, expdir: Any, **options: Any
    ) -> None:
        data = downstream_expert["datarc"]
        root = str(Path(data["file_path"]).resolve())
        key = sha256_of(root.encode() + b"\0" + Path(data["meta_data"]).read_bytes())[:16]
        dataset: Any = sys.modules["s3prl.downstream.voxceleb1.dataset"]
        dataset.CACHE_PATH = str(Path(expdir) / f"voxceleb1-{key}")
        initialise(self, upstream_dim, downstream_expert, expdir, **options)

    expert.__init__ = with_own_cache


def add_inference(any_label: Any, prediction: str) -> Callable[[Any], None]:
    """Return a correction that gives a task `-m inference -t FILE`, which these three never had.

    `any_label` is one that the task's forward takes, for a loss that is not used; `prediction` is
    the key of its records that holds what it predicts.
    """

    def correct(module: Any) -> None:
        def inference(self: Any, features: list[Tensor], names: list[str]) -> list[str]:
            records: dict[str, list[Any]] = defaultdict(list)
            self.forward("inference", features, [any_label], list(names), records)
            values = [v if isinstance(v, str) else " ".join(v) for v in records[prediction]]
            lines = (f"{n} {v}\n" for n, v in zip(names, values, strict=True))
            with (Path(self.expdir) / "inference.txt").open("ab") as file:
                file.write(bytes_of("".join(lines)))
            return values

        refuse_nonfinite_scores(module.DownstreamExpert)
        if not hasattr(module.DownstreamExpert, "inference"):
            module.DownstreamExpert.inference = inference
            module.DownstreamExpert.load_audio = _load_audio

    return correct


def refuse_nonfinite_scores(expert: Any) -> None:
    """Have a task end where its loss on dev or test is NaN, instead of counting class 0."""
    forward = expert.forward

    @functools.wraps(forward)
    def checked(self: Any, split: str, features: Any, *args: Any, **options: Any) -> Any:
        loss = forward(self, split, features, *args, **options)
        if split not in ("train", "inference") and not bool(loss.isfinite()):
            texts = [item for part in args if isinstance(part, (list, tuple)) for item in part]
            names = [str(item) for item in texts if isinstance(item, str)][:5]
            which = f" ({', '.join(names)})" if names else ""
            raise NonFiniteError(
                f"The model gives NaN or infinity on {split}{which}, of which no score comes."
            )
        return loss

    expert.forward = checked


def _load_audio(self: Any, path: Path | str) -> Tensor:
    # (L,) at 16 kHz; s3prl's Runner would refuse other rates and join channels end to end.
    import torchaudio

    samples, rate = load(path)
    resampled: Tensor = torchaudio.functional.resample(samples.mean(dim=0), rate, SAMPLE_RATE)
    return resampled
