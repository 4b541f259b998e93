"""What s3prl expects of torch and torchaudio and newer releases took away."""

import argparse
import importlib
import sys
from typing import Any

import torch

from spknorm.compat.audio_files import info, load, save
from spknorm.compat.sox_effects import make_module


def apply() -> None:
    """Import torchaudio and put back what it lacks; existing functions are left as they are."""
    # s3prl's checkpoints carry their command line as a Namespace (torch.load: weights_only=True).
    torch.serialization.add_safe_globals([argparse.Namespace])
    torchaudio = _import_torchaudio()
    # These left with torchaudio 2.9; s3prl.hub calls the first (byol_s).
    _put(torchaudio, "set_audio_backend", lambda backend: None)  # there is one left
    _put(torchaudio, "get_audio_backend", lambda: "soundfile")
    _put(torchaudio, "list_audio_backends", lambda: ["soundfile"])
    _put(torchaudio, "info", info)
    if not _torchcodec_works():  # since 2.9 both need torchcodec and a system FFmpeg
        torchaudio.load, torchaudio.save = load, save
    if not hasattr(torchaudio, "sox_effects"):  # gone in 2.9; s3prl.hub (mos_prediction) imports it
        torchaudio.sox_effects = sys.modules["torchaudio.sox_effects"] = make_module()


def _import_torchaudio() -> Any:
    # torchaudio 2.11 refuses a torch built for another CUDA minor, although it is ABI-stable from
    # torch 2.11 on; it looks at torch.version.cuda, and only while it is being imported.
    if "torchaudio" in sys.modules:
        return sys.modules["torchaudio"]
    cuda = torch.version.cuda
    torch.version.cuda = None
    try:
        return importlib.import_module("torchaudio")
    finally:
        torch.version.cuda = cuda


def _torchcodec_works() -> bool:
    try:
        importlib.import_module("torchcodec.decoders")
    except Exception:  # without a matching FFmpeg its import ends in errors of several types
        return False
    return True


def _put(module: Any, name: str, value: Any) -> None:
    if not hasattr(module, name):
        setattr(module, name, value)
