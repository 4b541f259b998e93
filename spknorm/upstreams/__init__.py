"""Families of upstreams: how one is built from its checkpoint, run without padding, and exported.

`FAMILIES` is the table, a row per family; an upstream that is in no row is run as s3prl runs it,
padded, and is not exported. `build` makes any upstream as training made it: of s3prl's hub, or a
model of transformers (`-u hf:FOLDER_OR_NAME`).
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.config.weights import check_weights
from spknorm.errors import ConfigError, MissingError
from spknorm.upstreams.hugging_face import PREFIX
from spknorm.upstreams.hugging_face.names import cached, check_place


class Family(NamedTuple):
    """A kind of upstream.

    Attributes:
        title: As people call it.
        experts: s3prl's modules whose UpstreamExpert it is.
        model_type: What transformers' config.json calls it; empty if it has no such model.
        runs_packed: spknorm.upstreams.fast runs it without padding in one go.
        frozen: What is not trained unless `train_feature_extractor` is on; empty: all is trained.
    """

    title: str
    experts: tuple[str, ...] = ()
    model_type: str = ""
    runs_packed: bool = False
    frozen: str = ""


_S3PRL = "s3prl.upstream."
_FRONT_END = "convolutional front end"
FAMILIES = (
    Family("HuBERT", ("hubert",), "hubert", True, _FRONT_END),
    Family("wav2vec 2.0", ("wav2vec2",), "wav2vec2", True, _FRONT_END),
    Family("WavLM", ("wavlm",), "wavlm", True, _FRONT_END),
    Family("data2vec audio", ("data2vec",), "data2vec-audio", True, _FRONT_END),
    Family("UniSpeech-SAT", ("unispeech_sat",), "unispeech-sat", True, _FRONT_END),
    Family("emotion2vec", ("emotion2vec",), "", True, _FRONT_END),
    Family("distilHuBERT", ("distiller",), "", True),
    Family("UniSpeech", (), "unispeech", True, _FRONT_END),
    Family("SEW-D", (), "sew-d", False, _FRONT_END),
    Family("Wav2Vec2-BERT", (), "wav2vec2-bert"),
    Family("Whisper's encoder", (), "whisper"),
)
OTHER = Family("of another family")


class Built(NamedTuple):
    """An upstream as training began with it.

    Attributes:
        upstream: s3prl's.
        source: The file or folder that its weights came from; None where a family does not say.
    """

    upstream: Any
    source: Path | None


def family_of(upstream: Any) -> Family:
    """Return the row of the table that an upstream belongs to, `OTHER` if to none."""
    kind = upstream.model.config.model_type if _is_of_transformers(upstream) else None
    for family in FAMILIES:
        if kind is not None and family.model_type == kind:
            return family
        if any(isinstance(upstream, expert) for expert in _experts(family)):
            return family
    return OTHER


def is_stock(upstream: Any) -> bool:
    """Tell whether an upstream runs as its family does, with nothing added."""
    if getattr(upstream, "gate", None) is not None:
        return False
    if _is_of_transformers(upstream):
        return True
    return any(type(upstream).forward is expert.forward for expert in _experts(family_of(upstream)))


def _is_of_transformers(upstream: Any) -> bool:
    """Tell whether it is `hugging_face.TransformersUpstream`, which may not even be loaded."""
    module = sys.modules.get("spknorm.upstreams.hugging_face.upstream")
    return module is not None and isinstance(upstream, module.TransformersUpstream)


def _experts(family: Family) -> list[Any]:
    """Return s3prl's classes of a family, as far as anything has imported them."""
    modules = (sys.modules.get(f"{_S3PRL}{name}.expert") for name in family.experts)
    return [module.UpstreamExpert for module in modules if module is not None]


def build(args: argparse.Namespace, *, device: str = "cpu", folder: Path | None = None) -> Built:
    """Return the upstream that a command line names, as s3prl's Runner builds it.

    Args:
        args: s3prl's, as a checkpoint keeps them: upstream, upstream_ckpt, hub, ...
        device: Where it goes.
        folder: The experiment that was trained on it, for messages.

    Raises:
        ConfigError: An upstream that s3prl's hub does not have.
        MissingError: Its checkpoint, a file or a folder, is not there.
        CheckpointError: Its checkpoint is damaged or of another kind.
    """
    from spknorm.compat import DownloadError
    from spknorm.registry import register

    register()  # puts back what s3prl's modules need while they are imported
    from s3prl.downstream.runner import Runner, hub

    name, ckpt = args.upstream, getattr(args, "upstream_ckpt", None)
    on_the_hub = getattr(args, "hub", None) == "huggingface"
    if not on_the_hub and not name.startswith(PREFIX) and not hasattr(hub, name):
        raise ConfigError(f"s3prl's hub has no upstream {name}.")
    elsewhere = ckpt and _may_be_elsewhere(name, str(ckpt))
    if ckpt and name.startswith("hf_") and (elsewhere or folder is None):
        check_place(str(ckpt), name)
    elif ckpt and not on_the_hub and not elsewhere:
        _require(Path(ckpt), folder)
    check_weights(args)
    defaults = {"upstream_model_config": None, "upstream_trainable": False, "from_hf_hub": False}
    asked = {**defaults, **vars(args), "upstream_refresh": False, "device": device}
    maker = argparse.Namespace(
        args=argparse.Namespace(**asked), _init_model=lambda model, **_: model
    )
    try:
        with _noted_files() as files:
            upstream = Runner._get_upstream(maker)
    except DownloadError as error:
        raise error.of(name) from error
    except OSError as error:  # transformers and huggingface_hub, without a network
        if isinstance(error, MissingError) or not (on_the_hub or name.startswith("hf_")):
            raise
        raise MissingError(
            f"The upstream `{name}` needs `{name if on_the_hub else ckpt}`, which is neither a "
            "folder here nor in the Hugging Face cache, and could not be downloaded "
            f"({type(error).__name__}). Put the folder back, or set HF_HOME to a cache that has it."
        ) from error
    check_weights(args, fetched(upstream, args))
    return Built(upstream, _own_source(upstream) or (Path(files[-1]) if files else None))


def fetched(upstream: Any, args: argparse.Namespace) -> Path | None:
    """Return the file or folder that the name in `args` stood for when `upstream` was built."""
    from spknorm.compat import last_download

    if args.upstream.startswith("hf_"):
        return cached(str(args.upstream_ckpt))
    return _own_source(upstream) or last_download()


def _own_source(upstream: Any) -> Path | None:
    if _is_of_transformers(upstream):
        return Path(upstream.folder)
    own = getattr(upstream, "files", None)  # emotion2vec's
    return None if own is None else Path(own.weights)


def _may_be_elsewhere(name: str, ckpt: str) -> bool:
    """Tell whether -k may be an address, or a name of a hub, instead of a place on the disk."""
    if ckpt.startswith("http"):
        return True
    is_a_name = not Path(ckpt).is_absolute() and not ckpt.startswith((".", "~"))
    return name.startswith("hf_") and is_a_name and ckpt.count("/") <= 1


def _require(checkpoint: Path, folder: Path | None) -> None:
    if checkpoint.exists():
        return
    whose = "The upstream needs" if folder is None else f"{folder} was trained on"
    raise MissingError(
        f"{whose} the upstream checkpoint {checkpoint}, which is not there. "
        "Put it back; its configuration is needed to build the model."
    )


@contextlib.contextmanager
def _noted_files() -> Iterator[list[str]]:
    """Collect the files that s3prl's HuBERT expert reads: only it knows where a name leads."""
    from s3prl.upstream.hubert import expert

    files: list[str] = []
    load = expert.load_converted_model

    def noting(ckpt: str) -> Any:
        files.append(ckpt)
        return load(ckpt)

    expert.load_converted_model = noting
    try:
        yield files
    finally:
        expert.load_converted_model = load
