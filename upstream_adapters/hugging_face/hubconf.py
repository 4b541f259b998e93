"""Models of transformers as an entry of s3prl's hub: `-u hf:FOLDER_OR_NAME`."""

from typing import Any

from s3prl.upstream.hugging_face.expert import UpstreamExpert


def spknorm_hugging_face(ckpt: str, **kwargs: Any) -> UpstreamExpert:
    """Return the upstream in a folder of transformers, with SNP's gate if an export put it there.

    `ckpt` is a folder or a name of the hub; s3prl's further arguments are of no use to it.
    """
    return UpstreamExpert(ckpt)
