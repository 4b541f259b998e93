"""Upstreams from transformers' folders and names: `-u hf:FOLDER_OR_NAME`.

- `folder`: where the files are, and all weights in them, whoever wrote them.
- `inputs`: what a model takes, waveforms or log-mels, of one length at a time.
- `upstream`: the model under s3prl's contract of an upstream.

Importing the package alone loads no torch: its names come when they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spknorm.upstreams.hugging_face.folder import locate
    from spknorm.upstreams.hugging_face.upstream import TransformersUpstream

PREFIX = "hf:"

__all__ = ["PREFIX", "TransformersUpstream", "locate"]


def __getattr__(name: str) -> Any:
    if name == "locate":
        from spknorm.upstreams.hugging_face.folder import locate

        return locate
    if name == "TransformersUpstream":
        from spknorm.upstreams.hugging_face.upstream import TransformersUpstream

        return TransformersUpstream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
