"""Upstreams from transformers' folders and names: `-u hf:FOLDER_OR_NAME`.

- `folder`: where the files are, and all weights in them, whoever wrote them.
- `inputs`: what a model takes, waveforms or log-mels, of one length at a time.
- `upstream`: the model under s3prl's contract of an upstream.
"""

from spknorm.upstreams.hugging_face.folder import locate
from spknorm.upstreams.hugging_face.upstream import PREFIX, TransformersUpstream

__all__ = ["PREFIX", "TransformersUpstream", "locate"]
