"""A speaker-normalised distilHuBERT: s3prl's own expert, and SNP's gate; as `spknorm_hubert`."""

from typing import Any

from s3prl.upstream.distiller.expert import UpstreamExpert as DistillerExpert
from torch import Tensor

from spknorm.export import gate_of


class UpstreamExpert(DistillerExpert):  # type: ignore[misc]  # s3prl is untyped
    """s3prl's upstream contract for a file that `spknorm export` wrote; see `spknorm_hubert`."""

    def __init__(self, ckpt: str | None, **kwargs: Any) -> None:
        gate = gate_of(ckpt, "spknorm_distiller_local")
        super().__init__(ckpt, **kwargs)
        self.gate = gate

    def forward(self, wavs: list[Tensor], no_pred: bool = False) -> Any:
        """Run s3prl's distilHuBERT on B waveforms (L_i,), the gated features behind the others."""
        output = super().forward(wavs, no_pred)
        if self.gate is None:
            return output
        hidden = list(output["hidden_states"])
        gated = self.gate(hidden)
        return {**output, "hidden_states": [*hidden, gated], "last_hidden_state": gated}
