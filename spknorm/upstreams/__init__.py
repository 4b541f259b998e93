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
from spknorm.upstreams.hugging_face.names import cached, check_place, not_downloaded


class Family(NamedTuple):
    """A kind of upstream.

    Attributes:
        title: As people call it.
        expert: s3prl's module whose UpstreamExpert it is; empty if it has none.
        model_type: What transformers' config.json calls it; empty if it has no such model.
        runs_packed: spknorm.upstreams.fast runs it without padding in one go.
        frozen: What is not trained unless `train_feature_extractor` is on; empty: all is trained.
        names: s3prl's for it, and below what else docs/s3prl.md shows: as Markdown.
        read_back: What reads its exports.
        classifier: Whether transformers can express its emotion head.
    """

    title: str
    expert: str = ""
    model_type: str = ""
    runs_packed: bool = False
    frozen: str = ""
    names: str = "-"
    read_back: str = "`hf:`"
    classifier: str = "yes"


_FRONT_END = "convolutional front end"
FAMILIES = (
    Family(
        "HuBERT", "hubert", "hubert", True, _FRONT_END,
        names="`hubert*`, `mhubert*`, `contentvec*`, `ms_hubert`, `hubert_local`",
        read_back="`hf:`, `spknorm_hubert_local`",
    ),
    Family(
        "wav2vec 2.0", "wav2vec2", "wav2vec2", True, _FRONT_END,
        names="`wav2vec2*`, `xlsr*`, `xls_r_*`, `wav2vec2_local`",
        read_back="`hf:`, `wav2vec2_local`",
    ),
    Family(
        "WavLM", "wavlm", "wavlm", True, _FRONT_END,
        names="`wavlm*`, `wavlm_local`", read_back="`hf:`, `wavlm_local`",
    ),
    Family(
        "data2vec audio", "data2vec", "data2vec-audio", True, _FRONT_END,
        names="`data2vec*`, `data2vec_local`", read_back="`hf:`, `data2vec_local`",
    ),
    Family(
        "UniSpeech-SAT", "unispeech_sat", "unispeech-sat", True, _FRONT_END,
        names="`unispeech_sat*`, `unispeech_sat_local`", read_back="`hf:`, `unispeech_sat_local`",
    ),
    Family(
        "emotion2vec", "emotion2vec", "", True, _FRONT_END,
        names="`emotion2vec`, `emotion2vec_base*`, `emotion2vec_plus_*`",
        read_back="`emotion2vec`", classifier="no: transformers has no emotion2vec",
    ),
    Family(
        "distilHuBERT", "distiller", "", True,
        names="`distilhubert*`, `distiller_local`",
        read_back="`hf:`, `distiller_local`, `spknorm_distiller_local`",
        classifier="of a layer (`-s paper`)",
    ),
    Family("UniSpeech", "", "unispeech", True, _FRONT_END),
    Family("SEW-D", "", "sew-d", False, _FRONT_END),
    Family("Wav2Vec2-BERT", "", "wav2vec2-bert"),
    Family(
        "Whisper's encoder", "", "whisper",
        classifier="no: transformers' averages over all of its 30 s",
    ),
)  # fmt: skip
OTHER = Family("of another family")


class Built(NamedTuple):
    """An upstream as training began with it.

    `source` is the file or folder that its weights came from; None where a family does not say.
    """

    upstream: Any
    source: Path | None


def family_of(upstream: Any) -> Family:
    """Return the row of the table that an upstream belongs to, `OTHER` if to none."""
    kind = upstream.model.config.model_type if _is_of_transformers(upstream) else None
    for family in FAMILIES:
        if kind is not None and family.model_type == kind:
            return family
        if (expert := _expert(family)) is not None and isinstance(upstream, expert):
            return family
    return OTHER


def is_stock(upstream: Any) -> bool:
    """Tell whether an upstream runs as its family does, with nothing added."""
    if getattr(upstream, "gate", None) is not None:
        return False
    if _is_of_transformers(upstream):
        return True
    expert = _expert(family_of(upstream))
    return expert is not None and type(upstream).forward is expert.forward


def _is_of_transformers(upstream: Any) -> bool:
    """Tell whether it is `hugging_face.TransformersUpstream`, which may not even be loaded."""
    module = sys.modules.get("spknorm.upstreams.hugging_face.upstream")
    return module is not None and isinstance(upstream, module.TransformersUpstream)


def _expert(family: Family) -> Any:
    """Return s3prl's class of a family; None where nothing has imported it, or there is none."""
    module = sys.modules.get(f"s3prl.upstream.{family.expert}.expert")
    return None if module is None else module.UpstreamExpert


def build(args: argparse.Namespace, *, device: str = "cpu", folder: Path | None = None) -> Built:
    """Return the upstream that a command line names, as s3prl's Runner builds it.

    `args` are s3prl's, as a checkpoint keeps them; `folder` is the experiment, for messages.

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
    elif ckpt and not on_the_hub and not elsewhere and not Path(ckpt).exists():
        whose = "The upstream needs" if folder is None else f"{folder} was trained on"
        raise MissingError(
            f"{whose} the upstream checkpoint {ckpt}, which is not there. "
            "Put it back; its configuration is needed to build the model."
        )
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
        what, why = name if on_the_hub else ckpt, type(error).__name__
        raise not_downloaded(name, what, why, "Put the folder back") from error
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
