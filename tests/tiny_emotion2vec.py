"""A random emotion2vec as funasr writes it, and funasr's own class to compare with.

Its functions need funasr: pip install --no-deps funasr
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

AUDIO = {
    "type": "AUDIO", "prenet_depth": 1, "prenet_layerdrop": 0.05, "prenet_dropout": 0.1,
    "start_drop_path_rate": 0.0, "end_drop_path_rate": 0.0, "num_extra_tokens": 10,
    "init_extra_token_zero": True, "mask_noise_std": 0.01, "mask_prob_min": None, "mask_prob": 0.5,
    "inverse_mask": False, "mask_prob_adjust": 0.05, "keep_masked_pct": 0.0, "mask_length": 5,
    "add_masks": False, "remove_masks": False, "mask_dropout": 0.0, "encoder_zero_mask": True,
    "mask_channel_prob": 0.0, "mask_channel_length": 64, "ema_local_encoder": False,
    "local_grad_mult": 1.0, "use_alibi_encoder": True, "alibi_scale": 1.0, "learned_alibi": False,
    "alibi_max_pos": None, "learned_alibi_scale": True, "learned_alibi_scale_per_head": True,
    "learned_alibi_scale_per_layer": False, "num_alibi_heads": 4, "model_depth": 2,
    "decoder": {
        "decoder_dim": 16, "decoder_groups": 4, "decoder_kernel": 7, "decoder_layers": 2,
        "input_dropout": 0.1, "add_positions_masked": False, "add_positions_all": False,
        "decoder_residual": True, "projection_layers": 1, "projection_ratio": 2.0,
    },
    "extractor_mode": "layer_norm", "conv_pos_width": 25, "conv_pos_groups": 4,
    "feature_encoder_spec": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]",
    "conv_pos_depth": 5, "conv_pos_pre_ln": False,
}  # fmt: skip
MODEL = {
    "loss_beta": 0.0, "loss_scale": None, "depth": 2, "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0, "num_heads": 4, "norm_eps": 1.0e-5, "norm_affine": True,
    "encoder_dropout": 0.1, "post_mlp_drop": 0.1, "attention_dropout": 0.1,
    "activation_dropout": 0.0, "dropout_input": 0.0, "layerdrop": 0.05, "embed_dim": 32,
    "mlp_ratio": 2.0, "layer_norm_first": False, "average_top_k_layers": 2,
    "end_of_block_targets": False, "clone_batch": 1, "normalize": True,
}  # fmt: skip


def funasr_model(settings):
    """Return funasr's own Emotion2vec, with decoder and a head of nine emotions, at random."""
    from spknorm.upstreams.emotion2vec.package import modules

    # What reads files and devices for it needs packages that its network does not.
    files, versions = ModuleType("funasr.utils.load_utils"), ModuleType("distutils.version")
    files.load_audio_text_image_video = None
    versions.LooseVersion = type("LooseVersion", (), {
        "__init__": lambda self, text: None, "__ge__": lambda self, other: True})  # fmt: skip
    standing = {"funasr.utils.load_utils": files, "distutils.version": versions}
    with modules(wanted_by="emotion2vec"), pytest.MonkeyPatch.context() as patch:
        for name, module in standing.items():
            patch.setitem(sys.modules, name, module)
        own = importlib.import_module("funasr.models.emotion2vec.model")
        torch.manual_seed(0)
        return own.Emotion2vec(model_conf=settings, vocab_size=9)


def make_emotion2vec(folder: Path, *, audio=None, **changed) -> Path:
    """Write config.yaml and model.pt as emotion2vec is released; return the folder."""
    settings = {**MODEL, **changed, "modalities": {"audio": {**AUDIO, **(audio or {})}}}
    model = funasr_model(settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict()}, folder / "model.pt")
    content = {"model": "Emotion2vec", "model_conf": settings, "tokenizer": "CharTokenizer"}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder
