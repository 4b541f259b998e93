"""Random upstreams of a few thousand weights, in the checkpoint formats that s3prl loads.

All have the stride (320) and the least input (400 samples) of the real ones.
"""

from pathlib import Path

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


def make_hubert(path: Path, *, base: bool = False, conv_pos: int = 16, **changed) -> Path:
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


def make_wavlm(path: Path) -> Path:
    """Write a WavLM as Microsoft released it."""
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    torch.manual_seed(0)
    model = WavLM(WavLMConfig(_TRANSFORMER))
    torch.save({"cfg": _TRANSFORMER, "model": model.state_dict()}, path)
    return path


def make_hugging_face(folder: Path, kind: str) -> Path:
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
    )
    models[kind](config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder
