"""The content of the files that s3prl's own entries read, of an upstream that was trained."""

from typing import Any, NamedTuple

from spknorm.upstreams import Family


class StockForm(NamedTuple):
    """A file of s3prl's.

    Attributes:
        entry: s3prl's name with -k.
        content: What the file holds.
        model_cfg: fairseq's configuration, plain values.
        normalize: Whether waveforms are normalised.
    """

    entry: str
    content: dict[str, Any]
    model_cfg: dict[str, Any]
    normalize: bool


def stock_form(family: Family, upstream: Any) -> StockForm | None:
    """Return what s3prl's entry of a family reads; None if s3prl has no such entry.

    Args:
        family: Of the upstream.
        upstream: s3prl's expert.
    """
    name = next(iter(family.experts), "")
    model = upstream.model
    if name in ("wavlm", "unispeech_sat"):
        cfg = _plain(vars(upstream.cfg))
        content = {"cfg": cfg, "model": model.state_dict()}
        return StockForm(f"{name}_local", content, cfg, bool(upstream.cfg.normalize))
    if name in ("wav2vec2", "data2vec"):
        cfg = _plain(vars(model.cfg))
        settings = getattr(upstream, "task_cfg", None)
        normalize = bool(settings.normalize if settings else upstream.wav_normalize)
        weights = dict(model.state_dict())
        if name == "data2vec":
            weights["_ema"] = {}  # s3prl takes the teacher out again
        content = {
            "task_cfg": {"data": "", "normalize": normalize},
            "model_cfg": cfg,
            "model_weight": weights,
        }
        return StockForm(f"{name}_local", content, cfg, normalize)
    return None


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    kinds = (bool, int, float, str, type(None))
    plain = {key: value for key, value in settings.items() if isinstance(value, kinds)}
    texts = {key: str(value) for key, value in plain.items() if isinstance(value, str)}
    return {**plain, **texts}
