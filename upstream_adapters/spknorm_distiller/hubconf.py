"""Exported distilHuBERTs as an entry of s3prl's hub: `-u spknorm_distiller_local -k FILE`."""

from typing import Any

from s3prl.upstream.spknorm_distiller.expert import UpstreamExpert


def spknorm_distiller_local(ckpt: str, **kwargs: Any) -> UpstreamExpert:
    """Return the distilHuBERT in `normalised.pt` of an export, or in s3prl's own checkpoint.

    SNP's gate is in it, if the export has one.
    """
    kwargs.pop("refresh", None)
    return UpstreamExpert(ckpt, **kwargs)
