"""emotion2vec as an upstream of s3prl, with SNP's gate where an export put one."""

from spknorm.export import load_gate
from spknorm.upstreams.emotion2vec.upstream import Emotion2vecUpstream


class UpstreamExpert(Emotion2vecUpstream):
    """s3prl's upstream contract for a folder of emotion2vec, or the model.pt in it."""

    def __init__(self, name: str, ckpt: str | None) -> None:
        super().__init__(name, ckpt)
        self.gate = load_gate(self.files.folder)
