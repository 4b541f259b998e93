"""Models of transformers as an entry of s3prl's hub: `-u hf:FOLDER_OR_NAME`."""

from typing import Any

from s3prl.upstream.hugging_face.expert import UpstreamExpert


def spknorm_hugging_face(ckpt: str, **kwargs: Any) -> UpstreamExpert:
    """Return the upstream in a folder of transformers, with SNP's gate if an export put it there.

    Args:
        ckpt: Folder, or name on the Hugging Face Hub.
        **kwargs: s3prl's own (refresh, model_config, ...), which this upstream has no use for.
    """
    return UpstreamExpert(ckpt)
