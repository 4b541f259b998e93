"""An upstream that takes each utterance by itself, under s3prl's contract.

Utterances go through it alone, or together with others of exactly their length, so that no feature
depends on padding; what comes out is padded only to be stacked.

Legend: B utterances of L_i samples and T_i frames, b of them of one length, H dimension.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from spknorm.compat.lengths import check_lengths

T = TypeVar("T")
Wav = TypeVar("Wav", bound=Sized)


def needed_samples(convolutions: nn.Module) -> int:
    """Return how many samples a stack of convolutions needs for a frame."""
    needed, stride = 1, 1
    for part in convolutions.modules():
        if isinstance(part, nn.Conv1d):
            needed += (part.kernel_size[0] - 1) * stride
            stride *= part.stride[0]
    return needed


def lengthened(wav: Tensor, samples: int) -> Tensor:
    """Return a waveform (L,) with zeros behind it where it is shorter than a model needs."""
    return functional.pad(wav, (0, samples - len(wav))) if len(wav) < samples else wav


def by_length(make: Callable[[list[Wav]], Iterable[T]], wavs: Sequence[Wav]) -> list[T]:
    """Return what `make` gives for each waveform (L_i,), called with those of one length."""
    found: dict[int, T] = {}
    order = sorted(range(len(wavs)), key=lambda index: len(wavs[index]))
    for _, same in itertools.groupby(order, key=lambda index: len(wavs[index])):
        members = list(same)
        found.update(zip(members, make([wavs[index] for index in members]), strict=True))
    return [found[index] for index in range(len(wavs))]


class AloneUpstream(nn.Module):
    """What upstreams have in common that are not s3prl's own.

    The convolutional front end is frozen, as s3prl has it, until `feature_grad_mult` is set to 1.

    Attributes:
        gate: SNP's, behind all hidden states; None but in an upstream that was exported with one.
        frames_every: Samples per frame, of every layer.
        reads_on_host: What the model takes is made of waveforms on the host, wherever it computes.
    """

    frames_every: int
    reads_on_host = False

    def __init__(self) -> None:
        super().__init__()
        self.gate: nn.Module | None = None

    def states(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return every layer (b, T, H) of b waveforms of one length."""
        raise NotImplementedError

    def front_end_parts(self) -> list[nn.Module]:
        """Return the modules of the convolutional front end; none if there is none."""
        raise NotImplementedError

    @property
    def feature_grad_mult(self) -> float:
        """1 where the convolutional front end is trained, else 0: as s3prl's models call it."""
        parts = self.front_end_parts()
        return float(any(p.requires_grad for part in parts for p in part.parameters()))

    @feature_grad_mult.setter
    def feature_grad_mult(self, value: float) -> None:
        for part in self.front_end_parts():
            part.requires_grad_(value > 0)
            if hasattr(part, "_requires_grad"):
                part._requires_grad = value > 0  # type: ignore[assignment]  # its inputs'

    def get_downsample_rates(self, key: str = "") -> int:
        """Return samples per frame, of every layer."""
        return self.frames_every

    @check_lengths
    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """Return the hidden states of B waveforms (L_i,) at 16 kHz.

        Returns:
            `hidden_states`, a tuple of (B, T, H), zeros behind each utterance, with the gated
            features at its end if there is a gate; each also as `hidden_state_N`, and the last as
            `last_hidden_state`.
        """
        alone = by_length(lambda same: zip(*self.states(same), strict=True), wavs)
        hidden = tuple(
            pad_sequence(list(row), batch_first=True) for row in zip(*alone, strict=True)
        )
        if self.gate is not None:
            hidden = (*hidden, self.gate(list(hidden)))
        numbered = {f"hidden_state_{number}": layer for number, layer in enumerate(hidden)}
        return {"hidden_states": hidden, "last_hidden_state": hidden[-1], **numbered}
