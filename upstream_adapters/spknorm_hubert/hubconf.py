"""Exported, normalised upstreams as an entry of s3prl's hub: `-u spknorm_hubert_local -k FILE`."""

from typing import Any

from s3prl.upstream.spknorm_hubert.expert import UpstreamExpert


def spknorm_hubert_local(ckpt: str, **kwargs: Any) -> UpstreamExpert:
    """Return the upstream in `normalised.pt` of an export, or in s3prl's converted HuBERT's file.

    SNP's gate is in it, if the export has one; of s3prl's further arguments none is of use.
    """
    kwargs.pop("refresh", None)
    return UpstreamExpert(ckpt, **kwargs)
