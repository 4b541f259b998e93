"""emotion2vec as an upstream of s3prl, with SNP's gate where an export put one."""

from spknorm.export.upstream_file import GATE_FILE, build_gate, read_gate
from spknorm.upstreams.emotion2vec.upstream import Emotion2vecUpstream


class UpstreamExpert(Emotion2vecUpstream):
    """s3prl's upstream contract for a folder of emotion2vec.

    Args:
        name: As -u takes it.
        ckpt: Folder, or model.pt in it.
    """

    def __init__(self, name: str, ckpt: str | None) -> None:
        super().__init__(name, ckpt)
        if (self.files.folder / GATE_FILE).is_file():
            self.gate = build_gate(read_gate(self.files.folder / GATE_FILE))
