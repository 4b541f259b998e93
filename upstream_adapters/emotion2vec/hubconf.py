"""emotion2vec as entries of s3prl's hub: `-u emotion2vec -k FOLDER`, `-u emotion2vec_plus_large`.

Each takes `ckpt`, a folder with config.yaml and model.pt or the latter, and s3prl's own arguments,
for which it has no use. Without `ckpt` the model of that name is taken from a cache or its hub.
"""

from collections.abc import Callable
from typing import Any

from s3prl.upstream.emotion2vec.expert import UpstreamExpert as _UpstreamExpert

from spknorm.upstreams.emotion2vec import NAMES


def _entry(name: str) -> Callable[..., _UpstreamExpert]:
    def build(ckpt: str | None = None, **kwargs: Any) -> _UpstreamExpert:
        return _UpstreamExpert(name, ckpt)

    return build


globals().update({name: _entry(name) for name in NAMES})
