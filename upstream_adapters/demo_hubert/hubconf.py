"""The demo's small HuBERT as an entry of s3prl's hub: `-u spknorm_demo_hubert`."""

from pathlib import Path
from typing import Any

from s3prl.upstream.demo_hubert.expert import UpstreamExpert

_EMBEDDED = Path(__file__).with_name("demo_hubert.pt")


def spknorm_demo_hubert(ckpt: str | None = None, **kwargs: Any) -> UpstreamExpert:
    """Return the small HuBERT that was pre-trained on the demo's generator; nothing is downloaded.

    Args:
        ckpt: Another checkpoint of the same format; by default the embedded one.
        **kwargs: s3prl's own (refresh, model_config, ...), which this upstream has no use for.
    """
    kwargs.pop("refresh", None)
    return UpstreamExpert(ckpt or str(_EMBEDDED), **kwargs)
