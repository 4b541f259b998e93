"""Exported, normalised upstreams as an entry of s3prl's hub: `-u spknorm_hubert_local -k FILE`."""

from typing import Any

from s3prl.upstream.spknorm_hubert.expert import UpstreamExpert


def spknorm_hubert_local(ckpt: str, **kwargs: Any) -> UpstreamExpert:
    """Return the upstream that `spknorm export` wrote, with its gate if it has one.

    Args:
        ckpt: `normalised.pt` of an export; s3prl's converted HuBERT checkpoints work as well.
        **kwargs: s3prl's own (refresh, model_config, ...), which this upstream has no use for.
    """
    kwargs.pop("refresh", None)
    return UpstreamExpert(ckpt, **kwargs)
