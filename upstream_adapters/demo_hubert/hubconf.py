"""The demo's small HuBERT as an entry of s3prl's hub: `-u spknorm_demo_hubert`."""

from pathlib import Path
from typing import Any

from s3prl.upstream.demo_hubert.expert import UpstreamExpert

_EMBEDDED = Path(__file__).with_name("demo_hubert.pt")


def spknorm_demo_hubert(ckpt: str | None = None, **kwargs: Any) -> UpstreamExpert:
    """Return the small HuBERT that was pre-trained on the demo's generator; nothing is downloaded.

    `ckpt` may be another checkpoint of the same format than the embedded one; s3prl's further
    arguments (refresh, model_config, ...) are of no use to it.
    """
    kwargs.pop("refresh", None)
    return UpstreamExpert(ckpt or str(_EMBEDDED), **kwargs)
