"""A model of transformers as an upstream of s3prl, with SNP's gate where an export put one.

With a gate the gated features come after the others, as in `spknorm_hubert`: `last_hidden_state`
and `hidden_states[-1]` are gated, all before them are the model's own.
"""

from spknorm.export import load_gate
from spknorm.upstreams.hugging_face.upstream import TransformersUpstream


class UpstreamExpert(TransformersUpstream):
    """s3prl's upstream contract for a folder of transformers, or a name of its hub."""

    def __init__(self, ckpt: str) -> None:
        super().__init__(ckpt)
        self.gate = load_gate(self.folder)
