"""One tiny random checkpoint of every family, as -u and -k take it."""

from pathlib import Path

from tiny_upstreams import (
    TRANSFORMERS_TYPES,
    make_data2vec,
    make_hubert,
    make_transformers,
    make_wav2vec2,
    make_wavlm,
)

_OF_S3PRL = {
    "hubert": ("hubert_local", make_hubert, {}),
    "wav2vec2": ("wav2vec2_local", make_wav2vec2, {}),
    "wavlm": ("wavlm_local", make_wavlm, {"gated": True}),
    "wavlm ungated": ("wavlm_local", make_wavlm, {}),
    "unispeech-sat": ("unispeech_sat_local", make_wavlm, {}),
    "data2vec": ("data2vec_local", make_data2vec, {}),
}
_PRE_NORM = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
_OF_TRANSFORMERS = {
    **{f"hf {kind}": (kind, {}) for kind in TRANSFORMERS_TYPES},
    "hf xls-r": ("wav2vec2", _PRE_NORM),
    "hf wavlm large": ("wavlm", _PRE_NORM),
}
FAMILIES = (*_OF_S3PRL, *_OF_TRANSFORMERS)


def flags_of(name: str, folder: Path) -> dict[str, str | None]:
    """Write the checkpoint of a family; return the flags that name it."""
    folder.mkdir(parents=True, exist_ok=True)
    if name in _OF_S3PRL:
        entry, make, changes = _OF_S3PRL[name]
        return {"upstream": entry, "upstream_ckpt": str(make(folder / "model.pt", **changes))}
    kind, changes = _OF_TRANSFORMERS[name]
    path = make_transformers(folder / "model", kind, **changes)
    return {"upstream": f"hf:{path}", "upstream_ckpt": None}
