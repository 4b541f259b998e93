"""Families of upstreams: how one is built from its checkpoint, run without padding, and exported.

`FAMILIES` is the table, a row per family; an upstream that is in no row is run as s3prl runs it,
padded, and is not exported. `build` makes any upstream of s3prl's hub as training made it.

| family | without padding | exported as | read back by |
|---|---|---|---|
| HuBERT | `fast` | s3prl's file with the gate, transformers' folder | spknorm_hubert |
| wav2vec 2.0 | `fast` | - | - |
| any other | - | - | - |
"""

import argparse
import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.errors import ConfigError, MissingError

__all__ = ["FAMILIES", "OTHER", "Built", "Family", "build", "family_of", "is_stock"]


class Family(NamedTuple):
    """A kind of upstream.

    Attributes:
        title: As people call it.
        expert: s3prl's module whose UpstreamExpert it is.
        runs_packed: spknorm.upstreams.fast runs it without padding.
        export_entry: Entry of s3prl's hub that reads an export back; None: it is not exported.
    """

    title: str
    expert: str
    runs_packed: bool
    export_entry: str | None


FAMILIES = (
    Family("HuBERT", "s3prl.upstream.hubert.expert", True, "spknorm_hubert_local"),
    Family("wav2vec 2.0", "s3prl.upstream.wav2vec2.expert", True, None),
)
OTHER = Family("of another family", "", False, None)


class Built(NamedTuple):
    """An upstream as training began with it.

    Attributes:
        upstream: s3prl's.
        source: The file that its weights came from; None where a family does not say.
    """

    upstream: Any
    source: Path | None


def family_of(upstream: Any) -> Family:
    """Return the row of the table that an upstream belongs to, `OTHER` if to none."""
    for family in FAMILIES:
        module = sys.modules.get(family.expert)  # an upstream of it has imported it
        if module is not None and isinstance(upstream, module.UpstreamExpert):
            return family
    return OTHER


def is_stock(upstream: Any) -> bool:
    """Tell whether an upstream runs as s3prl's expert of its family does, with nothing added."""
    family = family_of(upstream)
    if family is OTHER:
        return False
    expert = importlib.import_module(family.expert).UpstreamExpert
    return bool(type(upstream).forward is expert.forward)


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
    from s3prl.downstream.runner import Runner, hub

    from spknorm.compat import DownloadError
    from spknorm.registry import register

    register()
    name, ckpt = args.upstream, getattr(args, "upstream_ckpt", None)
    on_the_hub = getattr(args, "hub", None) == "huggingface"
    if not on_the_hub and not hasattr(hub, name):
        raise ConfigError(f"s3prl's hub has no upstream {name}.")
    if ckpt and not on_the_hub and not _may_be_elsewhere(name, str(ckpt)):
        _require(Path(ckpt), folder)
    defaults = {"upstream_model_config": None, "upstream_trainable": False, "from_hf_hub": False}
    asked = {**defaults, **vars(args), "upstream_refresh": False, "device": device}
    maker = argparse.Namespace(args=argparse.Namespace(**asked), _init_model=_as_it_is)
    try:
        with _noted_files() as files:
            upstream = Runner._get_upstream(maker)
    except DownloadError as error:
        raise MissingError(
            f"The upstream `{name}` needs {error.url}, which could not be downloaded "
            f"({error.reason}) and is not in {error.folder} either."
        ) from error
    except OSError as error:  # transformers and huggingface_hub, without a network
        if isinstance(error, MissingError) or not (on_the_hub or name.startswith("hf_")):
            raise
        raise MissingError(
            f"The upstream `{name}` needs `{name if on_the_hub else ckpt}`, which is neither a "
            "folder here nor in the Hugging Face cache, and could not be downloaded "
            f"({type(error).__name__}). Put the folder back, or set HF_HOME to a cache that has it."
        ) from error
    return Built(upstream, Path(files[-1]) if files else None)


def _as_it_is(model: Any, **_: Any) -> Any:
    return model


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
