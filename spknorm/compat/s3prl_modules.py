"""s3prl's own modules, corrected while they are imported.

An import hook gives every s3prl module a safe `eval` and `torch.load`, and corrects a few by name.
"""

import builtins
import contextlib
import functools
import importlib.machinery
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import torch

from spknorm.compat import hugging_face, stock_tasks
from spknorm.compat.expressions import read_conv_layers, read_expression
from spknorm.compat.finetuned import or_finetuned
from spknorm.compat.lengths import check_lengths
from spknorm.compat.transformers_models import LateTransformers, WholeModel
from spknorm.errors import MissingError
from spknorm.upstreams.weights import build_from, load_weights

ADDRESSED = {"hf": "spknorm_hugging_face"}
"""Entries of the hub that -u names together with what they load, as in hf:FOLDER."""
_downloaded: list[Path] = []
"""Files that names of the hub stand for, as far as they were asked for."""
_PATIENCE = 60
"""Seconds without an answer after which a download is given up."""


def apply() -> None:
    """Install the hook once, and correct the modules that were imported before it."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, module in list(sys.modules.items()):
        if _is_s3prl(name):
            _before(module)
            _after(module)


def last_download() -> Path | None:
    """Return the first file that the name of the upstream built last stood for, if it had one."""
    return next(iter(_downloaded), None)


class _Finder:
    """Finds s3prl's modules as Python would, and has them corrected when they are executed."""

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not _is_s3prl(name):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    _correct_when_executed(spec.loader)
                return spec
        return None


def _correct_when_executed(loader: Any) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        _before(module)
        execute(module)
        _after(module)

    loader.exec_module = exec_module


def _before(module: ModuleType) -> None:
    if module.__name__ in ("s3prl.downstream.runner", "s3prl.run_downstream"):
        hugging_face.apply()
    if _CORRECTIONS.get(module.__name__) is _correct_hugging_face_upstream:
        # Its own `import` statements, too, are those of the built-in names that it has.
        module.__builtins__ = {**vars(builtins), "__import__": _import}  # type: ignore[attr-defined]
    # A module's own `eval` is found before the built-in one.
    reads_layers = module.__name__ in _READ_LAYERS_OF_CHECKPOINTS
    module.eval = read_conv_layers if reads_layers else read_expression  # type: ignore[attr-defined]


def _after(module: ModuleType) -> None:
    source = getattr(module.__spec__, "origin", None) or ""
    if getattr(module, "torch", None) is torch and _mentions(source, "torch.load("):
        # Some modules ask for weights_only=False; the environment can ask for it, too.
        module.torch = _Overlay(torch, load=_load_weights)  # type: ignore[attr-defined]
    if getattr(module, "np", None) is numpy and any(
        _mentions(source, text) for text in ("np.int,", "np.complex)")
    ):
        # numpy 1.24 took away its names for Python's own types.
        module.np = _Overlay(numpy, int=int, complex=complex)  # type: ignore[attr-defined]
    if correct := _CORRECTIONS.get(module.__name__):
        correct(module)


class _Overlay:
    """A module as seen through a few replaced names."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _import(name: str, *args: Any, **options: Any) -> Any:
    return LateTransformers() if name == "transformers" else __import__(name, *args, **options)


def _load_weights(f: Any, *args: Any, **options: Any) -> Any:
    return load_weights(f, **(dict(zip(("map_location",), args, strict=False)) | options))


class DownloadError(MissingError):
    """A checkpoint that is neither in the download folder nor to be had from its address."""

    def __init__(self, url: str, file: Path, reason: Exception) -> None:
        self._parts = url, file, reason
        super().__init__(self._said("It"))

    def of(self, upstream: str) -> MissingError:
        """Return the same, said of the upstream that needs it."""
        return MissingError(self._said(f"The upstream `{upstream}`"))

    def _said(self, who: str) -> str:
        url, file, reason = self._parts
        return (
            f"{who} needs {url}, which could not be downloaded ({type(reason).__name__}) and is "
            f"not in {file.parent} either. Download it elsewhere and put it there as {file.name}, "
            "or name it with -k and a *_local upstream, or name a folder with earlier downloads "
            "with --cache_dir."
        )


def _correct_download(module: Any) -> None:
    # Without a network, two tracebacks of two libraries, neither of which says what to do; and
    # the second attempt kept an error's page as the checkpoint, or wanted its length.
    module.requests = _Overlay(module.requests, get=_get)
    download = module._download

    @functools.wraps(download)
    def or_say_what_is_missing(filepath: Path, url: str, *args: Any, **options: Any) -> None:
        try:
            download(filepath, url, *args, **options)
        except OSError as error:
            raise DownloadError(url, Path(filepath), error) from error
        _downloaded.append(filepath)

    module._download = module.download = or_say_what_is_missing


def _get(url: str, **options: Any) -> Any:
    import requests

    answer = requests.get(url, **{"timeout": _PATIENCE, **options})
    answer.raise_for_status()
    answer.headers.setdefault("Content-Length", "0")
    return answer


def _correct_hugging_face_upstream(module: Any) -> None:
    # Without `last_hidden_state`, `-s last_hidden_state` silently became a weighted sum; and in
    # train mode transformers masks spans and drops layers, as s3prl's own models do not.
    for name in ("HubertModel", "Wav2Vec2Model"):
        if hasattr(module, name):
            setattr(module, name, WholeModel(getattr(module, name)))
    expert = module.UpstreamExpert
    forward = expert.forward

    def undisturbed(model: Any) -> None:
        model.config.apply_spec_augment = False
        model.config.layerdrop = 0.0

    @functools.wraps(forward)
    def with_last_hidden_state(self: Any, wavs: Any) -> Any:
        result = forward(self, wavs)
        result.setdefault("last_hidden_state", result["hidden_states"][-1])
        return result

    _change_when_built(expert, undisturbed)
    expert.forward = check_lengths(with_last_hidden_state)


def _correct_runner(module: Any) -> None:
    # With `--device cpu` beside a GPU, `torch.cuda.device("cpu")` raises in every evaluation.
    cuda = _Overlay(torch.cuda, device=_cuda_device)
    module.torch = _Overlay(torch, load=_load_weights, cuda=cuda)
    module.hub = _Hub(module.hub)


class _Hub:
    """s3prl's hub, whose entries say what is wrong with a file that they cannot use."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub

    def __getattr__(self, name: str) -> Any:
        kind, _, source = name.partition(":")
        if source and kind in ADDRESSED:  # -u hf:FOLDER_OR_NAME
            entry = functools.partial(getattr(self._hub, ADDRESSED[kind]), ckpt=source)
            return lambda *args, ckpt=None, **options: build_from(
                lambda: source, lambda: entry(*args, **options), upstream=name
            )
        entry = getattr(self._hub, name)

        def build(*args: Any, ckpt: str | None = None, **options: Any) -> Any:
            _downloaded.clear()
            return build_from(
                lambda: ckpt or last_download(),
                lambda: or_finetuned(
                    lambda: entry(*args, ckpt=ckpt, **options), self._hub, name, ckpt
                ),
                upstream=name,
            )

        return build


def _cuda_device(device: Any) -> Any:
    if device is not None and torch.device(device).type != "cuda":
        return contextlib.nullcontext()
    return torch.cuda.device(device)


def _correct_multires_hubert(module: Any) -> None:
    # A layer that is dropped in training gives no hidden state, for which s3prl's expert asks.
    def whole(model: Any) -> None:
        for part in model.modules():
            if hasattr(part, "layerdrop"):
                part.layerdrop = 0.0

    _change_when_built(module.UpstreamExpert, whole)


def _change_when_built(expert: Any, change: Callable[[Any], None]) -> None:
    """Have an upstream's model changed as soon as it is there."""
    initialise = expert.__init__

    @functools.wraps(initialise)
    def changed(self: Any, *args: Any, **options: Any) -> None:
        initialise(self, *args, **options)
        change(self.model)

    expert.__init__ = changed


def _correct_voxceleb1_expert(module: Any) -> None:
    stock_tasks.keep_file_list_per_root(module)
    stock_tasks.add_inference(0, "predict_speaker")(module)


_CORRECTIONS: dict[str, Callable[[Any], None]] = {
    # It replaces builtins.isinstance for torch < 1.8; isinstance(defaultdict(), (A, B)) fails then.
    "s3prl.utility.helper": lambda module: vars(module).update(hack_isinstance=lambda: None),
    # Its processes import s3prl anew, without what is put back here; threads share it.
    "s3prl.util.audio_info": lambda module: vars(module).update(
        Parallel=functools.partial(module.Parallel, require="sharedmem")
    ),
    "s3prl.util.download": _correct_download,
    "s3prl.upstream.interfaces": lambda module: setattr(
        module.UpstreamBase, "__call__", check_lengths(module.UpstreamBase.__call__)
    ),
    "s3prl.upstream.hf_hubert.expert": _correct_hugging_face_upstream,
    "s3prl.upstream.hf_wav2vec2.expert": _correct_hugging_face_upstream,
    "s3prl.upstream.multires_hubert.expert": _correct_multires_hubert,
    "s3prl.downstream.runner": _correct_runner,
    "s3prl.downstream.emotion.expert": stock_tasks.add_inference(0, "predict"),
    "s3prl.downstream.fluent_commands.expert": stock_tasks.add_inference([0, 0, 0], "predict"),
    "s3prl.downstream.voxceleb1.dataset": lambda module: vars(module).update(
        pickle=stock_tasks.JsonInPlaceOfPickle
    ),
    "s3prl.downstream.voxceleb1.expert": _correct_voxceleb1_expert,
}

_READ_LAYERS_OF_CHECKPOINTS = {
    "s3prl.upstream.data2vec.data2vec_model",
    "s3prl.upstream.hubert.hubert_model",
    "s3prl.upstream.lighthubert.lighthubert.lighthubert",
    "s3prl.upstream.wav2vec2.wav2vec2_model",
    "s3prl.upstream.wavlm.WavLM",
}


def _is_s3prl(name: str) -> bool:
    return name.partition(".")[0] == "s3prl"


def _mentions(source: str, text: str) -> bool:
    return source.endswith(".py") and text in Path(source).read_text(errors="replace")
