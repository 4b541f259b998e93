"""A model of transformers as an upstream of s3prl, with SNP's gate where an export put one."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from spknorm.upstreams.hugging_face import TransformersUpstream


class UpstreamExpert(TransformersUpstream):
    """s3prl's upstream contract for a folder of transformers.

    Args:
        ckpt: Folder or name.
    """

    def __init__(self, ckpt: str) -> None:
        super().__init__(ckpt)

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """Run it on B waveforms (L_i,)."""
        return super().forward(wavs)
