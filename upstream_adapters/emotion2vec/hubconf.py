"""emotion2vec as entries of s3prl's hub: `-u emotion2vec -k FOLDER`, `-u emotion2vec_plus_large`.

Each takes `ckpt`, a folder with config.yaml and model.pt or the latter, and s3prl's own arguments,
for which it has no use. Without `ckpt` the model of that name is taken from a cache or its hub.
"""

from typing import Any

from s3prl.upstream.emotion2vec.expert import UpstreamExpert as _UpstreamExpert


def emotion2vec(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """Return the model that was pre-trained on speech of emotions, as emotion2vec_base."""
    return _UpstreamExpert("emotion2vec", ckpt)


def emotion2vec_base(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """Return the model that was pre-trained on speech of emotions."""
    return _UpstreamExpert("emotion2vec_base", ckpt)


def emotion2vec_base_finetuned(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """Return emotion2vec_base after it was fine-tuned for nine emotions."""
    return _UpstreamExpert("emotion2vec_base_finetuned", ckpt)


def emotion2vec_plus_seed(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """Return the first of the models that were trained on pseudo-labels."""
    return _UpstreamExpert("emotion2vec_plus_seed", ckpt)


def emotion2vec_plus_base(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """Return the second of them, of Base's size."""
    return _UpstreamExpert("emotion2vec_plus_base", ckpt)


def emotion2vec_plus_large(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
    """Return the third of them, of Large's size."""
    return _UpstreamExpert("emotion2vec_plus_large", ckpt)
