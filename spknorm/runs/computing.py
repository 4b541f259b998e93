"""What a run computed with, as result.json and log.log name it: which kernels, which shortcuts.

After `checked.py` in this folder. None of it is the method's; all of it decides about speed,
memory and the last digits.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Computing:
    """What ran.

    Attributes:
        device: cpu, or the GPU's name.
        precision: fp32, bf16 or fp16; what `runner.precision: auto` came to.
        attention: Each way in which training steps computed it, in words; none where the upstream
            is run by its own code, or its features are looked up.
        tf32: What of float32 a GPU rounded to TF32: products, convolutions.
        fused: The optimisers take their steps in torch's fused kernels.
        compiled: The upstream's layers went through torch.compile.
        most_frames: Padded frames that passed it at once at the end; None: memory was never short.
        recomputes: Activations were recomputed in the backward pass at the end.
        keeps_on_host: What an iteration keeps lay in the main memory at the end.
    """

    device: str
    precision: str
    attention: tuple[str, ...] = ()
    tf32: tuple[str, ...] = ()
    fused: bool = False
    compiled: bool = False
    most_frames: int | None = None
    recomputes: bool = False
    keeps_on_host: bool = False

    def __str__(self) -> str:
        """Return it as one line."""
        parts = [f"{self.precision} on {self.device}"]
        parts += [f"TF32 in {' and '.join(self.tf32)}"] if self.tf32 else []
        parts += [f"attention {' or '.join(self.attention)}"] if self.attention else []
        parts += ["fused optimisers"] if self.fused else []
        parts += ["compiled layers"] if self.compiled else []
        if self.most_frames is not None:
            parts.append(f"at most {self.most_frames} frames at once")
        parts += ["activations recomputed"] if self.recomputes else []
        parts += ["what an iteration keeps in the main memory"] if self.keeps_on_host else []
        return "computed in " + ", ".join(parts)
