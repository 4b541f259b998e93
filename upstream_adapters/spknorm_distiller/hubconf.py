"""Exported distilHuBERTs as an entry of s3prl's hub: `-u spknorm_distiller_local -k FILE`."""

from typing import Any

from s3prl.upstream.spknorm_distiller.expert import UpstreamExpert


def spknorm_distiller_local(ckpt: str, **kwargs: Any) -> UpstreamExpert:
    """Return the distilHuBERT that `spknorm export` wrote, with its gate if it has one.

    Args:
        ckpt: `normalised.pt` of an export; s3prl's own checkpoints work as well.
        **kwargs: s3prl's own (refresh, model_config, ...).
    """
    kwargs.pop("refresh", None)
    return UpstreamExpert(ckpt, **kwargs)
