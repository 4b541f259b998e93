"""s3prl's distilHuBERT as parts that `packed` runs.

Behind its layers stand heads that predict layers of the model it was distilled from; s3prl counts
them as hidden states, the last of them as the last one.

Legend: as in `parts.py`.
"""

from typing import Any

from torch import Tensor

from spknorm.upstreams.fast.dropout import dropout
from spknorm.upstreams.fast.fairseq import FairseqParts
from spknorm.upstreams.fast.layers import positions
from spknorm.upstreams.fast.layout import Begun, Layout
from spknorm.upstreams.fast.products import project


class DistillerParts(FairseqParts):
    """The parts of a distilHuBERT."""

    normalizes = False  # waveforms, which s3prl takes as they are

    def __init__(self, upstream: Any) -> None:
        super().__init__(upstream, upstream.model.model)
        self.final_norm = None  # hidden states are those before it
        self.behind = self.model.n_tasks
        self.names = {"paper": len(self.layers)}

    def embed(self, x: Tensor, layout: Layout) -> Begun:
        """Return the first layer's input (N, H) of the convolutions' outputs (N, C)."""
        model, encoder = self.model, self.model.encoder
        if model.post_extract_proj is not None:
            x = project(model.post_extract_proj, x)  # (N, C) -> (N, H)
        first, x = x, x + positions(encoder.pos_conv, x, layout)
        if not encoder.layer_norm_first:
            x = encoder.layer_norm(x)
        return Begun(dropout(x, encoder.dropout if encoder.training else 0.0), layout, first)

    def heads(self, x: Tensor) -> list[Tensor]:
        """Return the predictions (N, H) of the last layer's output (N, H)."""
        if self.model.encoder.layer_norm_first:
            x = self.model.encoder.layer_norm(x)
        whole = self.model.output_layer(x.unsqueeze(0)).squeeze(0)  # (N, heads H)
        return list(whole.chunk(self.behind, dim=-1))

    @staticmethod
    def reason_unsupported(upstream: Any) -> str | None:
        """Return why a model cannot be run without padding; None if it can."""
        config = upstream.model.model.config
        if config.encoder_layers < 1 or config.encoder_layerdrop > 0 or upstream.model.no_grad:
            return "its encoder is not a plain transformer without layerdrop"
        if config.attention_type != "original":
            return f"its attention is {config.attention_type}"
        if (config.task_emb_type, config.out_layer_type) != ("expand-last", "expand-last"):
            return f"its tasks are told apart by {config.task_emb_type}"
        return None
