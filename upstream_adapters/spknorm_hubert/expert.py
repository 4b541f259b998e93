"""A speaker-normalised HuBERT: s3prl's own expert, and SNP's gate behind its layers.

Without a gate (TAP, or no adversary) it gives what `hubert_local` gives. With one, the gated
features come after the others: `last_hidden_state` and `hidden_states[-1]` are gated, all before
them are as in `hubert_local`, so that a weighted sum may use both. The gate stands where it stood
in training: on the last hidden state, on another one, or on a weighted sum.
"""

from typing import Any

from s3prl.upstream.hubert.expert import UpstreamExpert as HubertExpert
from torch import Tensor

from spknorm.export import gate_of

Hidden = list[tuple[str, Tensor]]


class UpstreamExpert(HubertExpert):  # type: ignore[misc]  # s3prl is untyped
    """s3prl's upstream contract for a file that `spknorm export` wrote.

    Raises:
        MissingError: No `ckpt`, or no such file.
        CheckpointError: The file is not a whole upstream.
    """

    def __init__(self, ckpt: str | None, **kwargs: Any) -> None:
        gate = gate_of(ckpt, "spknorm_hubert_local")
        super().__init__(ckpt, **kwargs)
        self.gate = gate
        self._postprocess = self.hook_postprocess
        self.hook_postprocess = self._append_gated

    def forward(self, wavs: list[Tensor]) -> Any:
        """Run s3prl's HuBERT on B waveforms (L_i,).

        It is defined here so that spknorm.upstreams.fast, which knows s3prl's own HuBERT but no
        gate, sees that this is another upstream.
        """
        return super().forward(wavs)

    def _append_gated(self, hidden: Hidden) -> Hidden:
        # Called by s3prl after the forward pass, with (name, (B, T, H)) of every layer.
        hidden = list(self._postprocess(hidden))
        if self.gate is not None:
            hidden.append(("self.gate", self.gate([state for _, state in hidden])))
        return hidden
