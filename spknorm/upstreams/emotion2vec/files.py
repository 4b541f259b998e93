"""Where a checkpoint of emotion2vec is, and what is in it: config.yaml and model.pt."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from spknorm.config.yaml_values import load_yaml
from spknorm.errors import CheckpointError, MissingError
from spknorm.upstreams.emotion2vec import CONFIG_FILE, NAMES, WEIGHTS_FILE
from spknorm.upstreams.weights import explain, load_weights, tensors_in

_KIND = "Emotion2vec"


class Files(NamedTuple):
    """A checkpoint's."""

    config: Path
    weights: Path

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.config.parent


def locate(name: str, ckpt: str | None) -> Files:
    """Return the files of an upstream: those named, in a hub's cache, or downloaded now.

    `ckpt` is a folder, or the model.pt in one; None: the hub's of that name.

    Raises:
        MissingError: They are nowhere.
        CheckpointError: One of the two is not there.
    """
    if ckpt is not None:
        path = Path(ckpt).expanduser()
        if not path.exists():
            raise MissingError(f"`-k {ckpt}`: there is no such folder or file.")
        folder = path if path.is_dir() else path.parent
        return _files(folder, path if path.is_file() else folder / WEIGHTS_FILE)
    hub_id = f"emotion2vec/{NAMES[name]}"
    cache = Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope/hub").expanduser()
    for folder in (cache / "models" / "iic" / NAMES[name], cache / "iic" / NAMES[name]):
        if (folder / CONFIG_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
            return _files(folder, folder / WEIGHTS_FILE)
    import huggingface_hub

    try:
        paths = [huggingface_hub.hf_hub_download(hub_id, f) for f in (CONFIG_FILE, WEIGHTS_FILE)]
    except Exception as error:  # requests, httpx and the hub each have their own kinds
        raise MissingError(
            f"The upstream `{name}` needs {CONFIG_FILE} and {WEIGHTS_FILE} of {hub_id}, which are "
            f"neither in the Hugging Face cache {huggingface_hub.constants.HF_HUB_CACHE} nor in "
            f"ModelScope's (iic/{NAMES[name]}), and could not be downloaded "
            f"({type(error).__name__}). Get them elsewhere (hf download {hub_id} --local-dir "
            "FOLDER) and name the folder with -k."
        ) from error
    return Files(*map(Path, paths))


def read_settings(files: Files) -> dict[str, Any]:
    """Return `model_conf` of config.yaml.

    Raises:
        CheckpointError: It describes another model, or none.
    """
    content = load_yaml(files.config)
    settings = content.get("model_conf")
    if content.get("model") != _KIND or not isinstance(settings, dict):
        raise CheckpointError(
            f"{files.config} describes the model `{content.get('model')}`, not `{_KIND}` with its "
            "model_conf: name the folder of an emotion2vec."
        )
    return settings


def read_weights(files: Files) -> dict[str, Tensor]:
    """Return the weights in model.pt by name.

    Raises:
        CheckpointError: It holds something else, or is damaged.
    """
    tensors = tensors_in(load_weights(files.weights, map_location="cpu"))
    if not tensors:
        raise CheckpointError(f"{files.weights} {explain(files.weights)}.")
    return tensors


def _files(folder: Path, weights: Path) -> Files:
    for path in (folder / CONFIG_FILE, weights):
        if not path.is_file():
            raise CheckpointError(
                f"{folder} has no {path.name}: a folder of emotion2vec has {CONFIG_FILE} and "
                f"{WEIGHTS_FILE}. Copy or download it again."
            )
    return Files(folder / CONFIG_FILE, weights)
