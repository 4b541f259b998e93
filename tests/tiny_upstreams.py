"""Random upstreams of a few thousand weights, in the checkpoint formats that s3prl loads.

All have the stride (320) and the least input (400 samples) of the real ones.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

CONV_LAYERS = "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2"
_TRANSFORMER = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "encoder_layerdrop": 0.9,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "conv_feature_layers": CONV_LAYERS,
}


def make_hubert(path: Path, *, base: bool = False, conv_pos: int = 16, **changed: Any) -> Path:
    """Write a HuBERT in s3prl's converted format: what `hubert_local(ckpt=path)` loads.

    With `base` it has HuBERT Base's size (95 M weights), else a positional convolution of
    `conv_pos` frames; `changed` alters what the file says of it.
    """
    from s3prl.upstream.hubert.hubert_model import (
        HubertConfig,
        HubertModel,
        HubertPretrainingConfig,
    )

    size = {"final_dim": 256} if base else {**_TRANSFORMER, "conv_pos": conv_pos, "final_dim": 16}
    model_cfg = {**size, "label_rate": 50.0}
    task_cfg = {"label_rate": 50.0, "normalize": False}
    symbols = [[str(unit) for unit in range(8)]]
    torch.manual_seed(0)
    model = HubertModel(HubertConfig(**model_cfg), HubertPretrainingConfig(**task_cfg), symbols)
    state = {
        "task_cfg": task_cfg,
        "model_cfg": {**model_cfg, **changed},
        "model_weight": model.state_dict(),
        "dictionaries_symbols": symbols,
    }
    torch.save(state, path)
    return path


def make_wav2vec2(path: Path) -> Path:
    """Write a wav2vec 2.0 in s3prl's converted format."""
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model

    model_cfg = {**_TRANSFORMER, "final_dim": 16, "latent_vars": 8}
    torch.manual_seed(0)
    model = Wav2Vec2Model(Wav2Vec2Config(**model_cfg))
    state = {
        "task_cfg": {"data": "", "normalize": False},
        "model_cfg": model_cfg,
        "model_weight": model.state_dict(),
    }
    torch.save(state, path)
    return path


def make_wavlm(path: Path, *, gated: bool = False, **changed: Any) -> Path:
    """Write a WavLM as Microsoft released it, with its relative positions if `gated`.

    s3prl's UniSpeech-SAT has the same form.
    """
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    torch.manual_seed(0)
    relative = {"relative_position_embedding": gated, "gru_rel_pos": gated, "num_buckets": 32}
    cfg = {**_TRANSFORMER, **relative, "max_distance": 80, **changed}
    model = WavLM(WavLMConfig(cfg))
    torch.save({"cfg": cfg, "model": model.state_dict()}, path)
    return path


def make_data2vec(path: Path, **changed: Any) -> Path:
    """Write a data2vec in s3prl's converted format."""
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioConfig, Data2VecAudioModel

    positions = {"conv_pos": 15, "pos_conv_depth": 3, "extractor_mode": "layer_norm"}
    model_cfg = {**_TRANSFORMER, **positions, **changed}
    torch.manual_seed(0)
    model = Data2VecAudioModel(Data2VecAudioConfig(**model_cfg))
    model.remove_pretraining_modules()
    state = {
        "task_cfg": {"data": "", "normalize": True},
        "model_cfg": model_cfg,
        "model_weight": {**model.state_dict(), "_ema": {}},
    }
    torch.save(state, path)
    return path


def make_hugging_face(folder: Path, kind: str, **changes: Any) -> Path:
    """Write a HuBERT or wav2vec 2.0 (`kind`) as transformers saves it, its noise on."""
    import transformers

    configs = {"hubert": transformers.HubertConfig, "wav2vec2": transformers.Wav2Vec2Config}
    models = {"hubert": transformers.HubertModel, "wav2vec2": transformers.Wav2Vec2Model}
    torch.manual_seed(0)
    config = configs[kind](
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        layerdrop=0.9,
        apply_spec_augment=True,
        mask_time_prob=0.5,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        **changes,
    )
    models[kind](config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder


_OF_TRANSFORMERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "hubert": ("HubertConfig", "HubertModel", {}),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model", {}),
    "wavlm": ("WavLMConfig", "WavLMModel", {"num_buckets": 32, "max_bucket_distance": 80}),
    "unispeech-sat": ("UniSpeechSatConfig", "UniSpeechSatModel", {}),
    "unispeech": ("UniSpeechConfig", "UniSpeechModel", {}),
    "data2vec-audio": (
        "Data2VecAudioConfig",
        "Data2VecAudioModel",
        {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5},
    ),
    "sew-d": ("SEWDConfig", "SEWDModel", {"conv_dim": [16] * 13}),
    "wav2vec2-bert": (
        "Wav2Vec2BertConfig",
        "Wav2Vec2BertModel",
        {"feature_projection_input_dim": 160, "output_hidden_size": 32},
    ),
    "whisper": (
        "WhisperConfig",
        "WhisperModel",
        {
            "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 64,
            "encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_ffn_dim": 64,
            "vocab_size": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
    ),
}  # fmt: skip
TRANSFORMERS_TYPES = tuple(_OF_TRANSFORMERS)


def make_transformers(folder: Path, kind: str, *, still: bool = False, **changed: Any) -> Path:
    """Write a folder of transformers with a random model of a `TRANSFORMERS_TYPES`.

    With `still` it has no dropout.
    """
    import transformers

    config_class, model_class, own = _OF_TRANSFORMERS[kind]
    common = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4, "layerdrop": 0.9, "mask_time_prob": 0.5,
    }  # fmt: skip
    rates = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout",
             "dropout", "conformer_conv_dropout", "activation_dropout")  # fmt: skip
    zero = dict.fromkeys(rates, 0.0) if still else {}
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**{**common, **own, **zero, **changed})
    model = getattr(transformers, model_class)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if kind == "whisper":
        transformers.WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    elif kind == "wav2vec2-bert":
        transformers.SeamlessM4TFeatureExtractor().save_pretrained(folder)
    else:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def make_distiller(path: Path, **changed: Any) -> Path:
    """Write a distilHuBERT as s3prl's pre-training leaves it: what `distiller_local` loads."""
    from s3prl.upstream.distiller.model import DistillerConfig, DistillerModel

    own: dict[str, Any] = {k: v for k, v in _TRANSFORMER.items() if "layerdrop" not in k}
    layers = own.pop("conv_feature_layers")
    config = {
        **own, "extractor_conv_feature_layers": layers, "final_dim": 32, "n_tasks": 3,
        "pred_layer_id": [4, 8, 12], "out_layer_inter_dim": 16, "feature_grad_mult": 0.1, **changed,
    }  # fmt: skip
    torch.manual_seed(0)
    model = DistillerModel(DistillerConfig(config))
    torch.save({"Config": {"distiller": config}, "Distiller": model.state_dict()}, path)
    return path


@functools.cache
def _checkpoint(folder: Path, kind: str, changes: tuple[tuple[str, Any], ...]) -> Path:
    path = folder / f"{kind}-{abs(hash(changes))}.pt"
    if kind == "wav2vec2":
        return make_wav2vec2(path)
    return make_hubert(path, **dict(changes))


@pytest.fixture(scope="session")
def make_upstream(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function that returns a tiny upstream of s3prl in evaluation mode."""
    import spknorm.compat  # noqa: F401

    folder = tmp_path_factory.mktemp("fast")

    def make(kind: str = "hubert", **changes: Any) -> Any:
        from s3prl.upstream.hubert.expert import UpstreamExpert as Hubert
        from s3prl.upstream.wav2vec2.expert import UpstreamExpert as Wav2Vec2

        path = _checkpoint(folder, kind, tuple(changes.items()))
        return (Wav2Vec2 if kind == "wav2vec2" else Hubert)(str(path)).eval()

    return make


def featurizer_of(upstream: Any, selection: str = "last_hidden_state", **options: Any) -> Any:
    from s3prl.upstream.interfaces import Featurizer

    featurizer = Featurizer(upstream, selection, upstream_device="cpu", **options)
    if hasattr(featurizer, "weights"):
        torch.nn.init.normal_(featurizer.weights, generator=torch.Generator().manual_seed(1))
    return featurizer


def wavs(*seconds: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(int(16000 * s), generator=generator) for s in seconds]


def waveforms() -> Iterator[torch.Tensor]:
    """20 waveforms of 0.1 to 15 s, of no particular number of samples."""
    generator = torch.Generator().manual_seed(1)
    for seconds in np.geomspace(0.1, 15.0, 20):
        extra = int(torch.randint(0, 320, (1,), generator=generator))
        length = min(int(16000 * seconds) + extra, 240_000)
        yield 0.1 * torch.randn(length, generator=generator)
